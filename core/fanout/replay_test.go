package fanout_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// replay starts a replay for plugin p.
func (b *bundle) replay(r fanout.Replay) fanout.Replay {
	b.t.Helper()
	r.Plugin = "p"
	got, err := fanout.StartReplay(context.Background(), b.store, b.journal, r)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func (b *bundle) replayed(id int64) fanout.Replay {
	b.t.Helper()
	r, err := fanout.FindReplay(context.Background(), b.store, id)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *bundle) untilDone(id int64) fanout.Replay {
	b.t.Helper()
	b.until("the replay is done", func() bool { return b.replayed(id).State == fanout.ReplayDone })
	return b.replayed(id)
}

// again are the events that the plugin was given as a replay, by key.
func (f *fake) again() map[string][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := map[string][]string{}
	for _, ev := range f.seen {
		if ev.GetReplay() {
			ids[ev.GetKey()] = append(ids[ev.GetKey()], ev.GetId())
		}
	}
	return ids
}

// alone fails the test if a key is in two calls at once.
type alone struct {
	*fake
	t    *testing.T
	mu   sync.Mutex
	busy map[string]bool
}

func (a *alone) Deliver(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	keys := map[string]bool{}
	for _, ev := range req.GetEvents() {
		keys[ev.GetKey()] = true
	}
	a.mu.Lock()
	for key := range keys {
		if a.busy[key] {
			a.t.Errorf("%s is in two calls at once", key)
		}
		a.busy[key] = true
	}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		for key := range keys {
			delete(a.busy, key)
		}
	}()
	return a.fake.Deliver(ctx, req)
}

func TestLaw4_AReplayKeepsOrderWithinItsKeysWhileLiveEventsFlow(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
		want := map[string][]string{}
		for i := range 300 {
			tenant, id := fmt.Sprintf("t%d", i%3), fmt.Sprintf("e%d", i)
			b.append(tenant, id, "{}")
			want["tenant:"+tenant] = append(want["tenant:"+tenant], id)
		}
		b.start(func(_ *fanout.Config, d *fanout.Deps) {
			d.Plugin = &alone{fake: b.plugin, t: t, busy: map[string]bool{}}
		})
		b.until("all live events", b.settled)
		r := b.replay(fanout.Replay{Rate: 0})
		if r.After != 0 || r.Until != 300 {
			t.Errorf("the replay is %+v", r)
		}
		for i := range 60 {
			b.append(fmt.Sprintf("t%d", i%3), fmt.Sprintf("live%d", i), "{}")
		}
		r = b.untilDone(r.ID)
		b.until("all live events", b.settled)
		if r.Counts != (fanout.ReplayCounts{Applied: 300}) || r.Position != 300 || r.FinishedAt.IsZero() {
			t.Errorf("it ended as %+v", r)
		}
		got := b.plugin.again()
		for key, ids := range want {
			if !slices.Equal(got[key], ids) {
				t.Errorf("%s got %v, want %v", key, got[key], ids)
			}
		}
		if n := len(b.plugin.delivered()); n != 660 {
			t.Errorf("%d deliveries, want 300 and 60 live ones and 300 replayed", n)
		}
		list, err := fanout.Plugins(context.Background(), b.store)
		if err != nil || list[0].Position != 360 {
			t.Errorf("the cursor stands at %+v, %v", list, err)
		}
	})
}

func TestAReplaySelectsByTenantTimeTypeAndRange(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
		for i := range 10 {
			b.append(fmt.Sprintf("t%d", i%2), fmt.Sprintf("early%d", i), "{}")
		}
		middle := store.Now()
		for i := range 10 {
			b.append(fmt.Sprintf("t%d", i%2), fmt.Sprintf("late%d", i), "{}")
		}
		b.start()
		b.until("all live events", b.settled)
		ctx := context.Background()
		for name, c := range map[string]struct {
			replay fanout.Replay
			want   int64
		}{
			"a tenant":            {fanout.Replay{Tenant: "t1"}, 10},
			"a key":               {fanout.Replay{Key: "tenant:t0"}, 10},
			"since":               {fanout.Replay{Since: middle}, 10},
			"before":              {fanout.Replay{Before: middle, Tenant: "t0"}, 5},
			"a range":             {fanout.Replay{After: 5, Until: 7}, 2},
			"a type":              {fanout.Replay{Types: []string{"test.*"}}, 20},
			"another type":        {fanout.Replay{Types: []string{"tenant.*"}}, 0},
			"beyond the cursor":   {fanout.Replay{After: 18, Until: 1000}, 2},
			"a tenant of no name": {fanout.Replay{Tenant: "nobody"}, 0},
		} {
			_, counted, err := fanout.CountReplay(ctx, b.store, b.journal, func() fanout.Replay { r := c.replay; r.Plugin = "p"; return r }())
			if err != nil || counted["test.happened"] != c.want {
				t.Errorf("%s: counted %v, %v", name, counted, err)
			}
			r := b.untilDone(b.replay(c.replay).ID)
			if r.Counts.Applied != c.want || r.Counts.Total() != c.want {
				t.Errorf("%s: %+v, want %d", name, r.Counts, c.want)
			}
		}
		if _, err := fanout.StartReplay(ctx, b.store, b.journal, fanout.Replay{Plugin: "nobody"}); !errors.Is(err, fanout.ErrNoPlugin) {
			t.Errorf("a replay for nobody: %v", err)
		}
		if _, err := fanout.StartReplay(ctx, b.store, b.journal, fanout.Replay{Plugin: "p", Types: []string{"a..b"}}); err == nil {
			t.Error("a pattern that is none was taken")
		}
	})
}

// Whatever is cut off in the middle of a replay, no event whose verdict was
// committed is handed out again, and none is left out.
func TestLaw5_AReplayShowsEachEventOnceInTheStateWhateverHappens(t *testing.T) {
	const events, owners = 240, 10
	onBoth(t, func(t *testing.T, b *bundle) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		var mu sync.Mutex
		failures := map[string]int{}
		b.plugin.deliver = func(ev *pluginpb.Event, state []byte) (*pluginpb.Verdict, []byte) {
			if !ev.GetReplay() {
				return applied(), nil
			}
			mu.Lock()
			failures[ev.GetId()]++
			n := failures[ev.GetId()]
			mu.Unlock()
			if chance(seed, ev.GetId(), "fail") < 10 && n < 3 {
				return verdict(pluginpb.Verdict_KIND_RETRY, "not now"), nil
			}
			var ids []string
			if state != nil {
				if err := json.Unmarshal(state, &ids); err != nil {
					t.Error(err)
				}
			}
			out, _ := json.Marshal(append(ids, ev.GetId()))
			return applied(), out
		}
		want := map[string][]string{}
		for i := range events {
			tenant, id := fmt.Sprintf("t%d", i%7), fmt.Sprintf("e%d", i)
			b.append(tenant, id, "{}")
			want["tenant:"+tenant] = append(want["tenant:"+tenant], id)
		}
		b.start()
		b.until("all live events", b.settled)
		id := b.replay(fanout.Replay{Rate: 400}).ID
		cutting := &cutter{fake: b.plugin, deliver: b.plugin.Deliver, rng: rand.New(rand.NewPCG(seed, 1))}
		rng := rand.New(rand.NewPCG(seed, 2))
		for range owners { // each takes over from the one before, wherever it is
			b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Plugin = cutting })
			time.Sleep(time.Duration(rng.IntN(80)) * time.Millisecond) // a random instant, not a wait for something
		}
		r := b.untilDone(id)
		if r.Counts.Applied != events || r.Counts.Failed != 0 {
			t.Errorf("counts %+v", r.Counts)
		}
		for key, ids := range want {
			var got []string
			if err := json.Unmarshal([]byte(stateOf(t, b, key)), &got); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, ids) {
				t.Errorf("%s: state shows\n%v, want\n%v", key, got, ids)
			}
		}
	})
}

func TestLaw6_AnEventThatFailsInAReplayBecomesADeadLetterAndItsKeyGoesOn(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var bad atomic.Bool
		var attempts atomic.Int64
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if ev.GetId() == "e2" && bad.Load() {
				attempts.Add(1)
				return verdict(pluginpb.Verdict_KIND_RETRY, "still closed"), nil
			}
			return applied(), nil
		}
		for i := range 8 {
			b.append(fmt.Sprintf("t%d", i%2), fmt.Sprintf("e%d", i), "{}")
		}
		b.start()
		b.until("all live events", b.settled)
		bad.Store(true)
		r := b.untilDone(b.replay(fanout.Replay{}).ID)
		if r.Counts != (fanout.ReplayCounts{Applied: 7, Failed: 1}) {
			t.Errorf("counts %+v", r.Counts)
		}
		if got := b.plugin.again()["tenant:t0"]; !slices.Equal(slices.Compact(got), []string{"e0", "e2", "e4", "e6"}) {
			t.Errorf("the failing key got %v", got)
		}
		letters := b.trouble().DeadLetters
		if len(letters) != 1 || letters[0].Replay != r.ID || letters[0].EventID != "e2" || int64(letters[0].Attempts) != attempts.Load() ||
			letters[0].Reason != "still closed" || len(b.trouble().Lanes) != 0 {
			t.Errorf("after %d attempts: %+v", attempts.Load(), letters)
		}
		// An operator's retry works as for any other.
		bad.Store(false)
		if _, err := fanout.Retry(context.Background(), b.store, fanout.Filter{Letter: letters[0].ID}); err != nil {
			t.Fatal(err)
		}
		b.until("the dead letter is gone", func() bool { return len(b.trouble().DeadLetters) == 0 })
	})
}

// A key that is blocked gets the event that blocks it, and what comes behind it,
// from its lane: nothing overtakes it as a replay.
func TestLaw4_AReplayLeavesWhatABlockedLaneHasToCome(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var closed atomic.Bool
		closed.Store(true)
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if ev.GetId() == "bad" && closed.Load() {
				return verdict(pluginpb.Verdict_KIND_RETRY, "no"), nil
			}
			return applied(), nil
		}
		b.append("t", "before", "{}")
		b.append("t", "bad", "{}")
		b.append("t", "behind", "{}")
		b.append("u", "other", "{}")
		b.start()
		b.until("a lane, and the cursor beyond it", func() bool {
			list, err := fanout.Plugins(context.Background(), b.store)
			return err == nil && len(list) == 1 && list[0].Position == 4 && list[0].Lanes == 1
		})
		r := b.untilDone(b.replay(fanout.Replay{}).ID)
		if r.Counts != (fanout.ReplayCounts{Applied: 2, Deferred: 2}) {
			t.Errorf("counts %+v", r.Counts)
		}
		if got := b.plugin.again()["tenant:t"]; !slices.Equal(got, []string{"before"}) {
			t.Errorf("the blocked key got %v as a replay", got)
		}
		closed.Store(false)
		b.until("the lane goes on", b.settled)
	})
}

func TestACancelledReplayStopsAndSaysHowFarItCame(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
		for i := range 50 {
			b.append("t", fmt.Sprintf("e%d", i), "{}")
		}
		b.start()
		b.until("all live events", b.settled)
		slow := b.replay(fanout.Replay{Rate: 10})
		b.until("it has begun", func() bool { return b.replayed(slow.ID).Counts.Applied > 0 })
		got, err := fanout.CancelReplay(context.Background(), b.store, slow.ID)
		if err != nil || got.State != fanout.ReplayCancelled {
			t.Fatal(got, err)
		}
		if _, err := fanout.CancelReplay(context.Background(), b.store, slow.ID); err == nil {
			t.Error("it was cancelled twice")
		}
		if _, err := fanout.CancelReplay(context.Background(), b.store, 999); !errors.Is(err, fanout.ErrNoReplay) {
			t.Errorf("a replay that there is not: %v", err)
		}
		// The next one has its turn, and only that one goes on.
		b.untilDone(b.replay(fanout.Replay{Until: 5}).ID)
		if r := b.replayed(slow.ID); r.State != fanout.ReplayCancelled || r.Counts.Applied >= 50 {
			t.Errorf("the cancelled one is %+v", r)
		}
		list, err := fanout.Replays(context.Background(), b.store, "p", false, 0)
		if err != nil || len(list) != 2 || list[1].ID != slow.ID {
			t.Errorf("listed %+v, %v", list, err)
		}
	})
}
