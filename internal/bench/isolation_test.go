package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	coreplugin "github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/rs/zerolog"
)

const (
	isolationRounds = 5
	isolationEvents = 200 // a round
	// What the plugin process does with an event is decided by its tenant.
	tenantFine, tenantBad = "fine", "bad"
)

// isolation is a hub's inside with one plugin, for which latencies are measured.
type isolation struct {
	b       *testing.B
	store   *store.Store
	journal *journal.Journal
	mirror  *mirror.Mirror
	ctx     context.Context
	running sync.WaitGroup
	applied chan string
	events  int
}

func newIsolation(b *testing.B) (*isolation, func()) {
	b.Helper()
	st := storetest.Open(b, storetest.SQLite(b))
	s := &isolation{b: b, store: st, mirror: mirror.New(st, mirror.Options{Log: zerolog.Nop()}), applied: make(chan string, 1<<16)}
	s.journal = journal.New(st, s.mirror, journal.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	s.running.Go(func() { s.journal.Run(ctx) })
	return s, func() {
		cancel()
		s.running.Wait()
	}
}

// consume starts a plugin process and a consumer that delivers to it.
func (s *isolation) consume(ctx context.Context, name, role string, timeout time.Duration, observe func(fanout.Delivery)) (ended chan struct{}) {
	s.b.Helper()
	self, err := os.Executable()
	if err != nil {
		s.b.Fatal(err)
	}
	p := coreplugin.New(coreplugin.Spec{
		Name: name, Command: []string{self}, Env: map[string]string{roleName: role}, Config: json.RawMessage("{}"),
	}, coreplugin.Options{Log: zerolog.Nop()})
	ended = make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() { _ = p.Run(ctx) })
	if err := p.WaitReady(ctx); err != nil {
		s.b.Fatal(err)
	}
	c := fanout.New(fanout.Config{Name: name, Events: []string{"*"}, RetryFor: time.Hour, CallTimeout: timeout}, fanout.Deps{
		Store: s.store, Journal: s.journal, Mirror: s.mirror, Plugin: p, Log: zerolog.Nop(), Observe: observe,
		Backoff: func(int) time.Duration { return 50 * time.Millisecond }, // harder than a hub's
	})
	both.Go(func() { _ = c.Run(ctx) })
	go func() { both.Wait(); close(ended) }()
	return ended
}

func (s *isolation) append(tenant string) string {
	s.events++
	id := fmt.Sprintf("%s-%d", tenant, s.events)
	payload := fmt.Sprintf(`{"id":%q,"type":"test.happened","timestamp":"2026-01-02T03:04:05Z","tenant_id":%q,"data":{}}`, id, tenant)
	ev, err := event.DecodeWebhook([]byte(payload))
	if err != nil {
		s.b.Fatal(err)
	}
	ev.Source, ev.ReceivedAt = "bench", store.Now()
	ev.Evidence = event.Evidence{KeyID: "k1", Signature: make([]byte, 256), SignedTimestamp: "1700000000", Body: []byte(payload)}
	if _, err := s.journal.Append(context.Background(), ev); err != nil {
		s.b.Fatal(err)
	}
	return id
}

// round appends events one after the other, each beside one of the companion's
// tenant, and returns how long each took until its verdict was committed.
func (s *isolation) round(companion string) []time.Duration {
	took := make([]time.Duration, 0, isolationEvents)
	for i := range isolationEvents {
		s.append(companion)
		begin := time.Now()
		id := s.append(fmt.Sprintf("other%d", i%50))
		for <-s.applied != id {
		}
		took = append(took, time.Since(begin))
	}
	return took
}

// compare prints what trouble does to the p99 of those who have none, beside
// what two rounds without any trouble differ by.
func compare(t *table, name string, a, again, trouble []time.Duration) {
	for _, p := range []struct {
		name string
		at   float64
		goal string
	}{{"p50", 0.50, ""}, {"p99", 0.99, "1.20"}} {
		base := percentile(slices.Concat(a, again), p.at)
		us := func(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
		ratio := func(x, y time.Duration) string { return fmt.Sprintf("%.2f", float64(x)/float64(y)) }
		with := percentile(trouble, p.at)
		t.add(name+", "+p.name, us(with), us(base), ratio(with, base), p.goal)
		t.add(name+", without, twice, "+p.name, us(percentile(again, p.at)), us(percentile(a, p.at)), ratio(percentile(again, p.at), percentile(a, p.at)), "")
	}
}

// benchBadTenant measures what a tenant for which the plugin fails costs the
// others. Its lane never ends, so the rounds with it have a hub of their own.
func benchBadTenant(b *testing.B, t *table) {
	calm, end := newIsolation(b)
	defer end()
	troubled, stop := newIsolation(b)
	defer stop()
	for _, s := range []*isolation{calm, troubled} {
		s.consume(s.ctx, "p", "plugin", 0, func(d fanout.Delivery) {
			if d.Verdict == "applied" {
				s.applied <- d.Event.ID
			}
		})
		s.round(tenantFine) // warm
	}
	var a, again, trouble []time.Duration
	for range isolationRounds {
		a = append(a, calm.round(tenantFine)...)
		trouble = append(trouble, troubled.round(tenantBad)...)
		again = append(again, calm.round(tenantFine)...)
	}
	compare(t, "others' latency beside a failing tenant", a, again, trouble)
}

// benchHangingPlugin measures what a plugin whose calls all hang costs another.
func benchHangingPlugin(b *testing.B, t *table) {
	s, end := newIsolation(b)
	defer end()
	s.consume(s.ctx, "p", "plugin", 0, func(d fanout.Delivery) {
		if d.Verdict == "applied" {
			s.applied <- d.Event.ID
		}
	})
	var a, again, trouble []time.Duration
	with := func(role string, into *[]time.Duration) {
		ctx, stop := context.WithCancel(s.ctx)
		ended := s.consume(ctx, "q-"+role, role, 500*time.Millisecond, nil)
		*into = append(*into, s.round(tenantFine)...)
		stop()
		<-ended
	}
	s.round(tenantFine)
	for range isolationRounds {
		with("plugin", &a)
		with("plugin", &again)
		with("hangs", &trouble)
	}
	compare(t, "latency beside a plugin that hangs", a, again, trouble)
}
