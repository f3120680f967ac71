package fanout_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/journal/retention"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// pruner removes whatever nobody needs, however young.
func (b *bundle) pruner(configured ...string) *retention.Retention {
	return retention.New(retention.Config{Retain: time.Nanosecond}, retention.Deps{
		Store: b.store, Journal: b.journal, Holders: []retention.Holder{fanout.Holds(b.store, configured)},
		Wait: func(ctx context.Context, _ time.Duration) (bool, time.Duration) { return ctx.Err() == nil, 0 },
	})
}

func (b *bundle) prune(r *retention.Retention) retention.Done {
	b.t.Helper()
	done, err := r.Prune(context.Background(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return done
}

func (b *bundle) exec(query string, args ...any) {
	b.t.Helper()
	if _, err := b.store.SQL(context.Background()).Exec(context.Background(), query, args...); err != nil {
		b.t.Fatal(err)
	}
}

// Consumers whose keys fail now and then, and whose hubs end now and then, get every
// event in order while all that they do not need is pruned at once.
func TestLaw4_PruningTakesNothingThatAPluginNeeds(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const events, keys = 1500, 12
		var got sync.Map // by key: the ids that were applied, in order
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if rand.IntN(20) == 0 {
				return verdict(pluginpb.Verdict_KIND_RETRY, "not now"), nil
			}
			list, _ := got.LoadOrStore(ev.GetKey(), &[]string{})
			ids := list.(*[]string)
			*ids = append(*ids, ev.GetId())
			return applied(), nil
		}
		r := b.start()
		b.until("its cursor is there, before the first event", func() bool {
			list, err := fanout.Plugins(context.Background(), b.store)
			return err == nil && len(list) == 1
		})
		var working sync.WaitGroup
		var ended atomic.Bool
		working.Go(func() {
			p := b.pruner("p")
			for !ended.Load() {
				if _, err := p.Prune(context.Background(), nil); err != nil {
					t.Error(err)
				}
			}
		})
		for i := range events {
			b.append(fmt.Sprintf("t%d", i%keys), fmt.Sprintf("e%d", i), "{}")
			if i%400 == 399 {
				if err := r.end(); err != nil {
					t.Errorf("a consumer ended with %v", err)
				}
				r = b.start()
			}
		}
		b.until("everything is delivered", b.settled)
		ended.Store(true)
		working.Wait()
		for k := range keys {
			list, ok := got.Load(fmt.Sprintf("tenant:t%d", k))
			if !ok {
				t.Fatalf("key %d got nothing", k)
			}
			last, seen := -1, map[string]bool{}
			for _, id := range *list.(*[]string) {
				var i int
				if _, err := fmt.Sscanf(id, "e%d", &i); err != nil {
					t.Fatal(err)
				}
				if !seen[id] && i != last+keys && last >= 0 {
					t.Fatalf("key %d: event %d follows %d", k, i, last)
				}
				seen[id], last = true, i
			}
			if len(seen) != events/keys {
				t.Errorf("key %d got %d events", k, len(seen))
			}
		}
		if done := b.prune(b.pruner("p")); done.First < events-600 {
			t.Errorf("almost nothing was pruned: the journal begins at %d", done.First)
		}
	})
}

// holder is somebody with a cursor and lanes who does what consumers and operators
// may do with them, and asserts after each step that all it needs is there.
type holder struct {
	b    *bundle
	name string
	rand *rand.Rand
}

func (h *holder) step(ctx context.Context) error {
	return h.b.store.InTx(ctx, func(ctx context.Context) error {
		db := h.b.store.SQL(ctx)
		back := h.rand.IntN(10) == 0
		var begin int64
		var err error
		if back {
			if begin, err = journal.Hold(ctx, h.b.store); err != nil {
				return err
			}
		}
		var position, last, head int64
		scan := func(into *int64) func(*sql.Rows) error {
			return func(rows *sql.Rows) error { return rows.Scan(into) }
		}
		for _, q := range []struct {
			into  *int64
			query string
			args  []any
		}{
			{&position, `SELECT position FROM avhub_cursors WHERE id = ?`, []any{h.name + "/0"}},
			{&last, `SELECT value FROM avhub_counters WHERE name = ?`, []any{"journal"}},
			{&head, `SELECT COALESCE(MIN(head), 0) FROM avhub_lanes WHERE plugin = ?`, []any{h.name}},
		} {
			if err := db.Query(ctx, scan(q.into), q.query, q.args...); err != nil {
				return err
			}
		}
		// What is needed as of now is there.
		needs := position + 1
		if head > 0 {
			needs = min(needs, head)
		}
		var there int64
		if err := db.Query(ctx, scan(&there), `SELECT COUNT(*) FROM avhub_events WHERE position >= ? AND position <= ?`, needs, last); err != nil {
			return err
		}
		if want := last - needs + 1; there != want {
			return fmt.Errorf("%s needs %d to %d, and %d of these %d are there", h.name, needs, last, there, want)
		}
		move := func(to int64) error {
			_, err := db.Exec(ctx, `UPDATE avhub_cursors SET position = ? WHERE id = ?`, to, h.name+"/0")
			return err
		}
		switch n := h.rand.IntN(4); {
		case back:
			return move(begin - 1 + h.rand.Int64N(last-begin+2))
		case n == 0 && position < last: // an event beyond the cursor fails, and the cursor passes it
			if err := move(last); err != nil {
				return err
			}
			at := position + 1 + h.rand.Int64N(last-position)
			_, err := db.Exec(ctx, `INSERT INTO avhub_lanes (id, plugin, key, head) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
				fmt.Sprintf("%s/%d", h.name, at), h.name, fmt.Sprint(at), at)
			return err
		case n == 1 && head > 0: // a lane comes forward, or is handed back
			if head > position {
				_, err = db.Exec(ctx, `DELETE FROM avhub_lanes WHERE plugin = ? AND head = ?`, h.name, head)
				return err
			}
			_, err = db.Exec(ctx, `UPDATE avhub_lanes SET head = head + 3 WHERE plugin = ? AND head = ?`, h.name, head)
			return err
		default:
			return move(min(position+h.rand.Int64N(20), last))
		}
	})
}

func TestLaw4_PruningIsSafeWhateverCursorsAndLanesDo(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		ctx := context.Background()
		b.append("t", "e0", "{}")
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		var ended atomic.Bool
		var working sync.WaitGroup
		for i := range 3 {
			h := &holder{b, fmt.Sprintf("p%d", i), rand.New(rand.NewPCG(seed, uint64(i)))}
			b.exec(`INSERT INTO avhub_cursors (id, plugin) VALUES (?, ?)`, h.name+"/0", h.name)
			working.Go(func() {
				for !ended.Load() {
					if err := h.step(ctx); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for range 2 { // two hubs
			working.Go(func() {
				p := b.pruner("p0", "p1", "p2")
				for !ended.Load() {
					if _, err := p.Prune(ctx, nil); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for i := range 600 {
			b.append(fmt.Sprintf("t%d", i%5), fmt.Sprintf("e%d", i+1), "{}")
		}
		ended.Store(true)
		working.Wait()
		if begin, err := b.journal.First(ctx); err != nil || begin == 1 {
			t.Errorf("nothing was pruned: %d %v", begin, err)
		}
	})
}

func TestANewPluginBeginsWhereTheJournalDoes(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
		for i := range 10 {
			b.append("t", fmt.Sprintf("e%d", i), "{}")
		}
		if done := b.prune(b.pruner()); done.First != 11 {
			t.Fatalf("got %+v", done)
		}
		b.append("t", "new", "{}")
		b.start()
		b.until("it has all that there is", b.settled)
		if got := b.plugin.delivered(); len(got) != 1 || got[0] != "new" {
			t.Errorf("delivered %v", got)
		}
	})
}

func TestAPluginThatIsNotConfiguredAnyMoreHoldsTheJournalUntilItIsForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		ctx := context.Background()
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) { return applied(), []byte("s") }
		b.append("t", "e1", "{}")
		r := b.start()
		b.until("it has the first", b.settled)
		if _, err := fanout.Forget(ctx, b.store, "p", false); !errors.Is(err, fanout.ErrDelivering) {
			t.Errorf("forgotten while a hub delivers: %v", err)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		b.append("t", "e2", "{}")
		if done := b.prune(b.pruner("other")); done.First != 2 {
			t.Errorf("got %+v", done)
		}
		is, err := b.pruner("other").Status(ctx)
		if err != nil || len(is.Holds) != 1 || is.Holds[0].By != "plugin p (not configured any more)" || !strings.Contains(is.Holds[0].Advice, "plugin forget p") {
			t.Errorf("holds: %+v %v", is.Holds, err)
		}
		f, err := fanout.Forget(ctx, b.store, "p", true)
		if err != nil || f.States != 1 {
			t.Errorf("would forget %+v: %v", f, err)
		}
		if _, err := fanout.Forget(ctx, b.store, "p", false); err != nil {
			t.Fatal(err)
		}
		if done := b.prune(b.pruner("other")); done.First != 3 {
			t.Errorf("got %+v", done)
		}
		if _, err := fanout.Forget(ctx, b.store, "p", false); !errors.Is(err, fanout.ErrNoSuchPlugin) {
			t.Errorf("forgotten twice: %v", err)
		}
	})
}

func (b *bundle) watch(limit fanout.LagLimit) *fanout.LagWatch {
	return &fanout.LagWatch{Store: b.store, Limit: limit, Log: b.log, Grace: time.Nanosecond}
}

func TestLaw6_APluginThatLagsTooFarIsLetGoAndHoldsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		ctx := context.Background()
		stuck := make(chan struct{})
		b.plugin.call = func(ctx context.Context, _ *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
			select {
			case <-stuck:
			case <-ctx.Done():
			}
			return nil, errCut
		}
		b.append("t", "e0", "{}")
		r := b.start()
		b.until("it has begun", func() bool {
			list, err := fanout.Plugins(ctx, b.store)
			return err == nil && len(list) == 1 && list[0].State == "running"
		})
		for i := range 20 {
			b.append("t", fmt.Sprintf("e%d", i+1), "{}")
		}
		look := func(limit fanout.LagLimit, now time.Time) {
			t.Helper()
			w := b.watch(limit)
			for range 2 { // the first look only notes where everybody is
				if err := w.Look(ctx, now); err != nil {
					t.Fatal(err)
				}
			}
		}
		look(fanout.LagLimit{Events: 100}, store.Now())
		look(fanout.LagLimit{Time: time.Hour}, store.Now())
		look(fanout.LagLimit{}, store.Now().Add(1000*time.Hour))
		if done := b.prune(b.pruner("p")); done.First != 1 {
			t.Fatalf("it needs everything: %+v", done)
		}
		look(fanout.LagLimit{Time: time.Hour}, store.Now().Add(2*time.Hour))
		close(stuck)
		if err := r.wait(); !errors.Is(err, fanout.ErrFenced) {
			t.Errorf("whoever delivers goes on: %v", err)
		}
		if done := b.prune(b.pruner("p")); done.First != 22 {
			t.Errorf("it still holds: %+v", done)
		}
		// A consumer that comes later waits, and says why.
		b.plugin.call = func(context.Context, *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
			t.Error("it was called")
			return nil, errCut
		}
		b.exec(`UPDATE avhub_cursors SET state = '', reason = ''`)
		r = b.start()
		b.until("it says why", func() bool {
			list, err := fanout.Plugins(ctx, b.store)
			return err == nil && list[0].State == fanout.NeedsBackfill && strings.Contains(list[0].Reason, "plugin reset")
		})
		if err := r.end(); err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
}

func TestAPluginThatCatchesUpIsNotLetGo(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		ctx := context.Background()
		b.exec(`INSERT INTO avhub_plugins (id) VALUES ('p')`)
		b.exec(`INSERT INTO avhub_cursors (id, plugin) VALUES ('p/0', 'p')`)
		for i := range 30 {
			b.append("t", fmt.Sprintf("e%d", i), "{}")
		}
		w := b.watch(fanout.LagLimit{Events: 5})
		for position := range 20 {
			b.exec(`UPDATE avhub_cursors SET position = ?`, position+1)
			if err := w.Look(ctx, store.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if done := b.prune(b.pruner("p")); done.First != 21 {
			t.Errorf("it was let go: %+v", done)
		}
		if err := w.Look(ctx, store.Now()); err != nil { // it stands still
			t.Fatal(err)
		}
		if done := b.prune(b.pruner("p")); done.First != 31 {
			t.Errorf("it was not let go: %+v", done)
		}
	})
}

// A limit to the pages of the database is a full disk as SQLite tells of it.
func TestLaw5_AFullDiskDelaysVerdictsAndLosesNone(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t))
	called := make(chan struct{}, 100)
	b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) {
		called <- struct{}{}
		return applied(), []byte(strings.Repeat("x", 60<<10)) // more than there is room for
	}
	for i := range 10 {
		b.append(fmt.Sprintf("t%d", i), fmt.Sprintf("e%d", i), "{}")
	}
	b.exec(`PRAGMA max_page_count = 1`) // it becomes what there is
	b.start()
	for range 10 {
		<-called
	}
	// The verdicts are known, and cannot be written.
	if b.settled() {
		t.Fatal("there was room for them")
	}
	b.exec(`PRAGMA max_page_count = 1073741823`)
	b.until("they are written after all", b.settled)
	if got := b.plugin.delivered(); len(got) != 10 {
		t.Errorf("events were delivered again: %v", got)
	}
}
