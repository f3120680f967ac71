package fanout_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func applyAll(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }

func (b *bundle) pause() {
	b.t.Helper()
	ctx := context.Background()
	if err := fanout.Pause(ctx, b.store, "p", "to look at something"); err != nil {
		b.t.Fatal(err)
	}
	if err := fanout.WaitPaused(ctx, b.store, "p", patience); err != nil {
		b.t.Fatal(err)
	}
}

func TestLaw4_APausedPluginFinishesItsCallsAndGetsNothingUntilItIsResumed(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		ctx := context.Background()
		release := make(chan struct{})
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if ev.GetId() == "slow" {
				<-release
			}
			return applied(), nil
		}
		b.start()
		b.append("t", "slow", "{}")
		b.until("a call is in flight", func() bool { return len(b.plugin.delivered()) == 1 })
		if err := fanout.Pause(ctx, b.store, "p", "to look at something"); err != nil {
			t.Fatal(err)
		}
		b.until("it is about to pause", func() bool { return b.progress().State == "pausing" })
		if err := fanout.WaitPaused(ctx, b.store, "p", 10*time.Millisecond); err == nil {
			t.Error("it was taken for paused with a call in flight")
		}
		close(release)
		if err := fanout.WaitPaused(ctx, b.store, "p", patience); err != nil {
			t.Fatal(err)
		}
		b.append("u", "waits", "{}")
		if is := b.progress(); is.State != "paused" || is.Reason != "to look at something" || is.Position != 1 {
			t.Errorf("the plugin is %+v", is)
		}
		b.start() // another hub takes over, and obeys as well
		b.until("it has taken over", func() bool { return b.progress().Partitions[0].Epoch == 2 })
		if err := fanout.WaitPaused(ctx, b.store, "p", patience); err != nil {
			t.Fatal(err)
		}
		if got := b.plugin.delivered(); len(got) != 1 {
			t.Errorf("a paused plugin got %v", got)
		}
		if err := fanout.Resume(ctx, b.store, "p"); err != nil {
			t.Fatal(err)
		}
		b.until("it goes on where it stopped", b.settled)
		if got := b.plugin.delivered(); !slices.Equal(got, []string{"slow", "waits"}) {
			t.Errorf("delivered %v", got)
		}
		for _, err := range []error{
			fanout.Pause(ctx, b.store, "nobody", ""), fanout.Resume(ctx, b.store, "nobody"), fanout.Restart(ctx, b.store, "nobody"),
		} {
			if !errors.Is(err, fanout.ErrNoPlugin) {
				t.Errorf("for a plugin that there is not: %v", err)
			}
		}
	})
}

// A plugin can be resumed at another place. Whoever works from the old one is
// fenced, and what is known of keys follows.
func TestLaw4_AResumedPluginGoesOnAtThePlaceThatWasChosen(t *testing.T) {
	for name, c := range map[string]struct {
		start             fanout.Start
		want              []string
		to, passed, again int64
	}{
		"now":        {fanout.StartNow, []string{"late"}, 8, 4, 0},
		"beginning":  {fanout.StartBeginning, []string{"e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "late"}, 0, 0, 4},
		"a position": {fanout.StartAfter(2), []string{"e2", "e3", "e4", "e5", "e6", "e7", "late"}, 2, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *bundle) {
				ctx := context.Background()
				b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
					return applied(), []byte(`"` + ev.GetId() + `"`)
				}
				r := b.start()
				for i := range 4 {
					b.append("t", fmt.Sprintf("e%d", i), "{}")
				}
				b.until("all live events", b.settled)
				b.pause()
				for i := range 4 {
					b.append("t", fmt.Sprintf("e%d", i+4), "{}")
				}
				b.plugin.mu.Lock()
				b.plugin.seen = nil
				b.plugin.mu.Unlock()
				move := fanout.Move{Plugin: "p", To: c.start}
				if got, err := move.Plan(ctx, b.store, b.journal); err != nil || got.To != c.to || got.Passed != c.passed || got.Again != c.again {
					t.Errorf("planned %+v, %v; want %+v", got, err, c)
				}
				if _, err := move.Do(ctx, b.store, b.journal); err != nil {
					t.Fatal(err)
				}
				if err := r.wait(); !errors.Is(err, fanout.ErrFenced) {
					t.Errorf("the former owner ended with %v", err)
				}
				b.start() // its hub asks for the deliveries again
				b.append("t", "late", "{}")
				b.until("all is settled", b.settled)
				if got := b.plugin.delivered(); !slices.Equal(got, c.want) {
					t.Errorf("delivered %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestAResetForgetsAndSaysWhat(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		ctx := context.Background()
		var mended atomic.Bool
		b.plugin.deliver = func(ev *pluginpb.Event, state []byte) (*pluginpb.Verdict, []byte) {
			switch {
			case mended.Load():
			case ev.GetId() == "e0":
				return verdict(pluginpb.Verdict_KIND_REJECT, "never"), nil
			case ev.GetId() == "e1":
				return verdict(pluginpb.Verdict_KIND_RETRY, "not now"), nil
			}
			return applied(), append(state, 'x')
		}
		b.start()
		for i := range 6 {
			b.append(fmt.Sprintf("t%d", i%3), fmt.Sprintf("e%d", i), "{}")
		}
		b.until("a lane, and a dead letter", func() bool {
			is := b.progress()
			return is.Lanes == 1 && is.DeadLetters == 1 && is.Position == 6
		})
		reset := fanout.Move{Plugin: "p", To: fanout.StartBeginning, Reset: true}
		plan, err := reset.Plan(ctx, b.store, b.journal)
		if err != nil || plan.Lanes != 1 || plan.DeadLetters != 1 || plan.States < 2 || plan.Again != 6 {
			t.Errorf("planned %+v, %v", plan, err)
		}
		mended.Store(true)
		if _, err := reset.Do(ctx, b.store, b.journal); err != nil {
			t.Fatal(err)
		}
		b.start()
		b.until("all is settled", b.settled)
		for i := range 3 {
			if got := stateOf(t, b, fmt.Sprintf("tenant:t%d", i)); got != "xx" {
				t.Errorf("tenant %d: state %q, want that of two events", i, got)
			}
		}
		keep := fanout.Move{Plugin: "p", To: fanout.StartBeginning, Reset: true, KeepState: true}
		if _, err := keep.Do(ctx, b.store, b.journal); err != nil {
			t.Fatal(err)
		}
		b.start()
		b.until("all is settled", b.settled)
		if got := stateOf(t, b, "tenant:t0"); got != "xxxx" {
			t.Errorf("with the state kept: %q, want that of four events", got)
		}
		if is := b.progress(); is.State == "paused" || is.DeadLetters != 0 {
			t.Errorf("it is %+v", is)
		}
	})
}

// A reset that does not finish leaves the plugin paused, and says so; nothing else
// lets it go on by mistake.
func TestAnInterruptedMoveIsFinishedByTheNext(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), []byte("x") }
		b.start()
		for i := range 1200 {
			b.append(fmt.Sprintf("t%d", i), fmt.Sprintf("e%d", i), "{}")
		}
		b.until("all live events", b.settled)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		reset := fanout.Move{Plugin: "p", To: fanout.StartNow, Reset: true, Progress: func(int64, int64) { cancel() }}
		if _, err := reset.Do(ctx, b.store, b.journal); !errors.Is(err, context.Canceled) {
			t.Fatalf("ended with %v", err)
		}
		w, err := fanout.Wanted(context.Background(), b.store, "p")
		if err != nil || !w.Paused || !strings.Contains(w.Reason, "moved to now") {
			t.Errorf("left as %+v, %v", w, err)
		}
		if err := fanout.Resume(context.Background(), b.store, "p"); !errors.Is(err, fanout.ErrMoving) {
			t.Errorf("resumed in the middle: %v", err)
		}
		reset.Progress = nil
		moved, err := reset.Do(context.Background(), b.store, b.journal)
		if err != nil || moved.States >= 1200 || moved.States == 0 {
			t.Errorf("the second did %+v, %v", moved, err)
		}
		if w, err := fanout.Wanted(context.Background(), b.store, "p"); err != nil || w.Paused {
			t.Errorf("then %+v, %v", w, err)
		}
	})
}

func TestAMoveToWhereThereIsNothingIsRefusedAndChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = applyAll
		r := b.start()
		b.append("t", "e", "{}")
		b.until("all live events", b.settled)
		for _, to := range []fanout.Start{fanout.StartAfter(99), fanout.StartAfter(-1)} {
			if _, err := (fanout.Move{Plugin: "p", To: to}).Do(context.Background(), b.store, b.journal); err == nil {
				t.Errorf("moved to %s", to)
			}
		}
		b.append("t", "f", "{}")
		b.until("it goes on", b.settled)
		if err := r.end(); err != nil {
			t.Errorf("its owner ended with %v", err)
		}
	})
}

// A hub that is alive but does not answer keeps its place: nothing is moved under
// it.
func TestAMoveGivesUpWhenAHubDoesNotAnswer(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		ctx := context.Background()
		b.plugin.deliver = applyAll
		r := b.start()
		b.append("t", "e", "{}")
		b.until("all live events", b.settled)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		set := func(state string, ago time.Duration) {
			_, err := b.store.SQL(ctx).Exec(ctx, `UPDATE avhub_cursors SET state = ?, owner = 'h1', updated_at = ?`, state, store.Now().Add(-ago).UnixMicro())
			if err != nil {
				t.Fatal(err)
			}
		}
		move := fanout.Move{Plugin: "p", To: fanout.StartBeginning, Patience: 20 * time.Millisecond}
		set("running", 0)
		if _, err := move.Do(ctx, b.store, b.journal); err == nil || !strings.Contains(err.Error(), "h1") {
			t.Errorf("a silent hub was passed over: %v", err)
		}
		if w, err := fanout.Wanted(ctx, b.store, "p"); err != nil || w.Paused || b.progress().Position != 1 {
			t.Errorf("left as %+v, %v", w, err)
		}
		set("running", time.Hour)
		if _, err := move.Do(ctx, b.store, b.journal); err != nil || b.progress().Position != 0 {
			t.Errorf("a hub that is long gone held it up: %v", err)
		}
	})
}

func TestAProcessIsRestartedOnceForEachWish(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var restarts atomic.Int64
		wishes := &fanout.Restarts{Do: func(string) { restarts.Add(1) }}
		b.plugin.deliver = applyAll
		b.start(func(c *fanout.Config, d *fanout.Deps) { d.Restarts = wishes })
		b.until("it has begun", func() bool {
			list, err := fanout.Plugins(context.Background(), b.store)
			return err == nil && len(list) == 1 && list[0].State == "running"
		})
		if err := fanout.Restart(context.Background(), b.store, "p"); err != nil {
			t.Fatal(err)
		}
		b.until("it was restarted", func() bool { return restarts.Load() == 1 })
		b.start(func(c *fanout.Config, d *fanout.Deps) { d.Restarts = wishes }) // another partition of it
		b.append("t", "e", "{}")
		b.until("it delivers", b.settled)
		if n := restarts.Load(); n != 1 {
			t.Errorf("%d restarts for one wish", n)
		}
	})
}

// Resuming lets a plugin that has halted try again, with the configuration that
// it has.
func TestAHaltedPluginTriesAgainWhenItIsResumed(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var mended atomic.Bool
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) {
			if !mended.Load() {
				return verdict(pluginpb.Verdict_KIND_HALT, "the key is wrong"), nil
			}
			return applied(), nil
		}
		r := b.start()
		b.append("t", "e", "{}")
		if err := r.wait(); !errors.Is(err, fanout.ErrHalted) {
			t.Fatal(err)
		}
		if err := b.start().wait(); !errors.Is(err, fanout.ErrHalted) {
			t.Fatalf("it started again by itself: %v", err)
		}
		if err := fanout.Resume(context.Background(), b.store, "p"); err != nil {
			t.Fatal(err)
		}
		mended.Store(true)
		b.start()
		b.until("it goes on", b.settled)
	})
}
