package fanout_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// reject makes n dead letters, of 5 tenants in turn. The consumer goes on, and
// what is stored in the result decides about calls from then on: it may return an
// error, and otherwise everything is applied.
func reject(t *testing.T, b *bundle, n int) *atomic.Pointer[func(*pluginpb.DeliverRequest) error] {
	t.Helper()
	mended := &atomic.Pointer[func(*pluginpb.DeliverRequest) error]{}
	b.plugin.call = func(_ context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
		answer := verdict(pluginpb.Verdict_KIND_REJECT, "100% wrong: no plan_x")
		if look := mended.Load(); look != nil {
			if err := (*look)(req); err != nil {
				return nil, err
			}
			answer = applied()
		}
		resp := &pluginpb.DeliverResponse{}
		for _, ev := range req.GetEvents() {
			resp.Verdicts = append(resp.Verdicts, &pluginpb.Verdict{Kind: answer.Kind, Reason: answer.Reason, Position: ev.GetPosition()})
		}
		return resp, nil
	}
	for i := range n {
		b.append(fmt.Sprintf("t%d", i%5), fmt.Sprintf("e%d", i), "{}")
	}
	b.start()
	b.until("all are dead letters", func() bool { return b.letters(fanout.Filter{}) == int64(n) })
	return mended
}

func (b *bundle) letters(f fanout.Filter) int64 {
	b.t.Helper()
	n, err := fanout.Count(context.Background(), b.store, f)
	if err != nil {
		b.t.Fatal(err)
	}
	return n.DeadLetters
}

func TestRetriedDeadLettersGoOutManyInACallAndInOrderWithinTheirKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const n = 1200
		mended := reject(t, b, n)
		var calls, largest int
		var seen []*pluginpb.Event
		var mu sync.Mutex
		look := func(req *pluginpb.DeliverRequest) error {
			mu.Lock()
			defer mu.Unlock()
			calls, largest = calls+1, max(largest, len(req.GetEvents()))
			seen = append(seen, req.GetEvents()...)
			return nil
		}
		mended.Store(&look)

		var steps atomic.Int64
		done, err := fanout.RetryAt(context.Background(), b.store, fanout.Filter{Plugin: "p"},
			fanout.Pace{Progress: func(fanout.Affected) { steps.Add(1) }})
		if err != nil || done.DeadLetters != n {
			t.Fatal(done, err)
		}
		if steps.Load() < 2 {
			t.Errorf("%d dead letters were marked in %d transactions", n, steps.Load())
		}
		b.until("no dead letter is left", func() bool { return b.letters(fanout.Filter{}) == 0 })
		mu.Lock()
		defer mu.Unlock()
		if calls > n/10 || largest > 256 {
			t.Errorf("%d calls of up to %d events", calls, largest)
		}
		last := map[string]int64{}
		for _, ev := range seen {
			if !ev.GetReplay() || ev.GetAttempt() != 2 {
				t.Fatalf("delivered as %v", ev)
			}
			if ev.GetPosition() <= last[ev.GetKey()] {
				t.Fatalf("%s: %d came after %d", ev.GetKey(), ev.GetPosition(), last[ev.GetKey()])
			}
			last[ev.GetKey()] = ev.GetPosition()
		}
		if len(seen) != n {
			t.Errorf("%d deliveries of %d dead letters", len(seen), n)
		}
	})
}

// A dead letter that kills the plugin is found by halves; the others are not
// held against it.
func TestLaw6_ADeadLetterThatKillsThePluginFailsAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const n = 40
		mended := reject(t, b, n)
		kill := func(req *pluginpb.DeliverRequest) error {
			if slices.ContainsFunc(req.GetEvents(), func(ev *pluginpb.Event) bool { return ev.GetId() == "e17" }) {
				return errCut
			}
			return nil
		}
		mended.Store(&kill)
		if _, err := fanout.Retry(context.Background(), b.store, fanout.Filter{}); err != nil {
			t.Fatal(err)
		}
		b.until("all but one are settled", func() bool { return b.letters(fanout.Filter{}) == 1 })
		b.until("it has failed", func() bool { d := b.trouble().DeadLetters; return len(d) == 1 && !d[0].Retry })
		if d := b.trouble().DeadLetters[0]; d.EventID != "e17" || d.Attempts != 2 {
			t.Errorf("left over: %+v", d)
		}
	})
}

func TestFiltersSelectByReasonTimeAndType(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		begin := store.Now()
		reject(t, b, 10)
		end := store.Now().Add(time.Microsecond)
		for _, c := range []struct {
			filter fanout.Filter
			want   int64
		}{
			{fanout.Filter{Reason: "NO PLAN_X"}, 10},
			{fanout.Filter{Reason: "100%"}, 10},
			{fanout.Filter{Reason: "no%plan"}, 0},
			{fanout.Filter{Reason: "plan.x"}, 0},
			{fanout.Filter{Reason: "plan!x"}, 0},
			{fanout.Filter{Type: "test.happened"}, 10},
			{fanout.Filter{Type: "test.*"}, 10},
			{fanout.Filter{Type: "t%.*"}, 0},
			{fanout.Filter{Type: "*"}, 10},
			{fanout.Filter{Since: begin}, 10},
			{fanout.Filter{Since: end}, 0},
			{fanout.Filter{Until: end}, 10},
			{fanout.Filter{Until: begin}, 0},
			{fanout.Filter{Tenant: "t1"}, 2},
			{fanout.Filter{Tenant: "t1' OR '1'='1"}, 0},
		} {
			if got := b.letters(c.filter); got != c.want {
				t.Errorf("%+v selects %d, want %d", c.filter, got, c.want)
			}
		}
	})
}

// Whoever stops halfway has done half; the same call again does the rest.
func TestAnInterruptedBulkOperationIsFinishedByTheNext(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const n = 60
		reject(t, b, n)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		// 8 a second are 2 in each transaction.
		first, err := fanout.DiscardAt(ctx, b.store, fanout.Filter{Plugin: "p"},
			fanout.Pace{Rate: 8, Progress: func(fanout.Affected) { cancel() }})
		if !errors.Is(err, context.Canceled) || first.DeadLetters != 2 {
			t.Fatalf("stopped after %+v: %v", first, err)
		}
		rest, err := fanout.DiscardAt(context.Background(), b.store, fanout.Filter{Plugin: "p"}, fanout.Pace{})
		if err != nil || rest.DeadLetters != n-2 || b.letters(fanout.Filter{}) != 0 {
			t.Errorf("then %+v, %v, and %d are left", rest, err, b.letters(fanout.Filter{}))
		}
	})
}

// What fails while an operator's command works was not there when the operator
// decided.
func TestDeadLettersThatComeMeanwhileAreNotDiscarded(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		reject(t, b, 4)
		late := false
		_, err := fanout.DiscardAt(context.Background(), b.store, fanout.Filter{Plugin: "p"},
			fanout.Pace{Rate: 8, Progress: func(fanout.Affected) {
				if !late {
					late = true
					b.append("t9", "late", "{}")
					b.until("it is a dead letter", func() bool { return b.letters(fanout.Filter{Tenant: "t9"}) == 1 })
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		ids := []string{}
		for _, d := range b.trouble().DeadLetters {
			ids = append(ids, d.EventID)
		}
		if !slices.Equal(ids, []string{"late"}) {
			t.Errorf("left: %v", ids)
		}
	})
}
