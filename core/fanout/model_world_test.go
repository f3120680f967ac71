package fanout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
	"pgregory.net/rapid"
)

const (
	modelRetryFor = 10 * time.Minute
	modelBackoff  = 20 * time.Second
	modelKeys     = 4
	// manyKeys are enough tenants for a breaker.
	manyKeys = 7
	// modelPartitions are the most into which the model divides the plugin.
	modelPartitions = 3
)

// fault is the next thing that fails; it happens once.
type fault int

const (
	noFault        fault = iota
	faultBegin           // a transaction does not begin
	faultRollback        // a transaction is rolled back at its end
	faultAnswer          // a transaction is committed, but its hub is told that it failed
	faultRead            // the journal cannot be read
	faultMirror          // what travels with events cannot be loaded
	faultStatement       // a statement fails, and with it what it was for
	faults
)

// fact is what the model knows of an event.
type fact struct {
	position        int64
	id, key         string
	tenant, subject string // the keys of the other orders
	wanted          bool
	huge            bool
	// fate is the final verdict: applied, skipped, covered (by a later event of
	// the key), dead, discarded; empty: none has been committed.
	fate string
	// discard: an operator has given it up, if it is not settled otherwise
	// before. never: it must not even be attempted again.
	discard, never bool
	booked         bool // the database says that it is settled
	deaths         int  // of the plugin, with nothing but this event under way
}

// world is the model: events, hubs, and what must be true of the database.
type world struct {
	t       rapid.TB
	journal *journal.Journal
	st      *store.Store
	limits  limits
	setting

	now   time.Time
	hubs  []*modelHub
	lives int // of all of them
	fault fault
	// replays that operators have wanted.
	replays map[int64]*played
	looks   int  // at a context, until faultStatement ends it
	hold    bool // calls do not begin by themselves
	down    bool // the plugin does not answer
	// divided: the keys were divided anew since the books were read.
	divided bool
	hash    int // of the configuration
	// paused: an operator wants no deliveries; rests: and was told that there are
	// none any more.
	paused, rests bool
	trace         []op

	facts  []*fact // by position, from 1 on
	states map[string]string
	// letters are the dead letters that there must be, and whether an operator
	// wants them delivered.
	letters map[int64]bool
	failing map[string]*failing
	books   *books
	written bool // since the books were read
	serial  int  // makes ids and states differ
}

// setting is what a case is about.
type setting struct {
	order      plugin.Order
	coalesce   bool
	tight      bool // limits that a few events reach
	partitions int
	park       bool // on_dead, of hubs that start
	many       bool // keys
}

func (s setting) keys() int {
	if s.many {
		return manyKeys
	}
	return modelKeys
}

// failing is what the model knows of the failures of a key's first open event.
type failing struct {
	first   time.Time // of all
	counted time.Time // of those that surely count
	least   int       // attempts that surely count
	most    int
	parked  int64 // the dead letter that the key waits behind; 0: none
}

func newWorld(t rapid.TB, st *store.Store, j *journal.Journal, s setting) *world {
	w := &world{
		t: t, st: st, journal: j, setting: s,
		now:     store.Now(), // from here on it goes only as the model says
		states:  map[string]string{},
		letters: map[int64]bool{},
		replays: map[int64]*played{},
		failing: map[string]*failing{},
		limits:  usualLimits(),
	}
	if s.tight {
		w.limits = limits{
			batchEvents: 3, batchBytes: 1500, maxEvent: 3000, requestBytes: 2500,
			batchesInFlight: 2, lanesInFlight: 8, lettersInFlight: 2, lanesAtWork: 16, idleLanes: 2,
			windowEvents: 6, windowBytes: 8000, readEvents: 4, readBytes: 4000,
			flushEvents: 5,
		}
	}
	if s.order == plugin.Total {
		w.partitions = 1
	}
	for i := range 2 * modelPartitions {
		w.hubs = append(w.hubs, &modelHub{w: w, name: fmt.Sprintf("hub%d", i)})
	}
	ctx := context.Background()
	for _, table := range []string{"events", "seen_events", "counters", "cursors", "plugins", "lanes", "dead_letters", "plugin_states", "replay_parts", "replays"} {
		if _, err := st.SQL(ctx).Exec(ctx, "DELETE FROM avhub_"+table); err != nil {
			t.Fatal(err)
		}
	}
	w.written = true
	w.look()
	return w
}

// end lets go of what hangs in calls.
func (w *world) end() {
	for _, h := range w.hubs {
		h.drop()
	}
}

// fail ends the case and tells how it came about.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, format, args...)
	fmt.Fprintf(&b, "\n%+v\n", w.setting)
	for _, o := range w.trace {
		fmt.Fprintf(&b, "\t%s\n", o)
	}
	for i, c := range w.books.cursors {
		fmt.Fprintf(&b, "cursor of partition %d at %d of %d, epoch %d\n", i, c.position, len(w.facts), c.epoch)
	}
	for _, key := range slices.Sorted(maps.Keys(w.books.lanes)) {
		l := w.books.lanes[key]
		fmt.Fprintf(&b, "lane %s head %d attempts %d due in %s error %q\n", l.Key, l.Head, l.Attempts, max(l.NextAt.Sub(w.now), 0), l.Error)
	}
	for _, f := range w.facts {
		if !f.wanted || f.booked && f.position < int64(len(w.facts))-20 {
			continue
		}
		fmt.Fprintf(&b, "event %d key %s fate %q booked %v\n", f.position, f.key, f.fate, f.booked)
	}
	w.t.Fatal(b.String())
}

// meets tells whether a fault happens here.
func (w *world) meets(f fault) bool {
	if w.fault != f {
		return false
	}
	w.fault = noFault
	return true
}

// partition is the one that an event belongs to now.
func (w *world) partition(f *fact) int { return Slot(f.key) % w.partitions }

// begin starts a hub for each partition.
func (w *world) begin() {
	for partition := range w.partitions {
		w.hubs[partition].start(partition)
	}
}

// key is that of the nth tenant, or person.
func (w *world) key(n int) string {
	switch w.order {
	case plugin.PerSubject:
		return fmt.Sprintf("identity:s%d", n)
	case plugin.Total:
		return totalKey
	}
	return fmt.Sprintf("tenant:t%d", n)
}

// append journals an event of the nth key. In the order of subjects, the keys
// share tenants.
func (w *world) append(n int, typ string, size int) {
	w.serial++
	tenant := n
	if w.order == plugin.PerSubject {
		tenant = n % 2
	}
	f := &fact{id: fmt.Sprintf("e%d", w.serial), key: w.key(n), wanted: strings.HasPrefix(typ, "member."), huge: size > 0}
	body := fmt.Sprintf(`{"id":%q,"type":%q,"timestamp":"2026-01-02T03:04:05Z","tenant_id":"t%d","application_id":null,`+
		`"data":{"membership_id":"m","sub":"s%d","note":%q}}`, f.id, typ, tenant, n, strings.Repeat("x", size))
	ev, err := event.DecodeWebhook([]byte(body))
	if err != nil {
		w.t.Fatal(err)
	}
	ev.Source, ev.ReceivedAt, ev.Evidence.Body = "s", w.now, []byte(body)
	receipt, err := w.journal.Append(context.Background(), ev)
	if err != nil {
		w.t.Fatal(err)
	}
	f.position, f.tenant, f.subject = receipt.Position, ev.TenantKey(), ev.Subject()
	w.facts = append(w.facts, f)
	if f.position != int64(len(w.facts)) {
		w.t.Fatalf("event %d has position %d", len(w.facts), f.position)
	}
}

// open are the wanted events of a key that the hub has not settled yet.
func (w *world) open(h *modelHub, key string) []*fact {
	var open []*fact
	for _, f := range w.facts {
		if f.wanted && f.key == key && !f.booked && h.took[f.position] == "" {
			open = append(open, f)
		}
	}
	return open
}

// waiting are the calls that can be answered, and with idle those, too, that
// did not begin yet.
func (w *world) waiting() []*modelCall {
	var calls []*modelCall
	for _, h := range w.hubs {
		for _, call := range h.calls {
			if !call.answered {
				calls = append(calls, call)
			}
		}
	}
	return calls
}
