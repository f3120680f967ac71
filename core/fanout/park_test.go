package fanout_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// parked starts with a key that is parked behind the event "bad", with "later"
// waiting, and another key that is not concerned.
func parked(b *bundle, kind pluginpb.Verdict_Kind) (mended *atomic.Bool, change func(*fanout.Config, *fanout.Deps)) {
	mended = &atomic.Bool{}
	b.plugin.deliver = func(ev *pluginpb.Event, state []byte) (*pluginpb.Verdict, []byte) {
		if ev.GetId() == "bad" && !mended.Load() {
			return verdict(kind, "no such plan"), nil
		}
		return applied(), append(state, ev.GetId()+" "...)
	}
	change = func(c *fanout.Config, _ *fanout.Deps) { c.Park, c.RetryFor = true, 20*time.Millisecond }
	b.append("t", "first", "{}")
	b.append("t", "bad", `{"plan":"gold"}`)
	b.append("t", "later", "{}")
	b.append("other", "theirs", "{}")
	return mended, change
}

func (b *bundle) isParked() bool {
	is := b.trouble()
	return len(is.Lanes) == 1 && is.Lanes[0].State == fanout.LaneParked && len(is.DeadLetters) == 1
}

func TestLaw4_AParkedKeyWaitsBehindItsDeadLetter(t *testing.T) {
	for name, kind := range map[string]pluginpb.Verdict_Kind{
		"rejected": pluginpb.Verdict_KIND_REJECT, "failed too long": pluginpb.Verdict_KIND_RETRY,
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *bundle) {
				mended, change := parked(b, kind)
				first := b.start(change)
				b.until("the key is parked", b.isParked)
				b.until("the other key's event", func() bool { return slices.Contains(b.plugin.delivered(), "theirs") })
				is := b.trouble()
				if l, d := is.Lanes[0], is.DeadLetters[0]; l.Head != 2 || l.Parked != 2 || d.EventID != "bad" || d.Position != 2 || l.Error != "no such plan" || len(d.History) == 0 {
					t.Errorf("lane %+v, letter %+v", l, d)
				}
				if _, err := json.Marshal(is); err != nil {
					t.Error(err)
				}
				if err := first.end(); err != nil {
					t.Fatal(err)
				}

				// An operator's retry is one attempt; and hubs may come and go.
				ctx := context.Background()
				b.start(change)
				before := b.trouble().DeadLetters[0]
				if _, err := fanout.Retry(ctx, b.store, fanout.Filter{Letter: before.ID}); err != nil {
					t.Fatal(err)
				}
				b.until("it failed once more", func() bool {
					d := b.trouble().DeadLetters
					return b.isParked() && d[0].Attempts == before.Attempts+1 && !d[0].Retry
				})
				if slices.Contains(b.plugin.delivered(), "later") {
					t.Fatal("an event overtook the parked one")
				}
				mended.Store(true)
				if _, err := fanout.Retry(ctx, b.store, fanout.Filter{Letter: b.trouble().DeadLetters[0].ID}); err != nil {
					t.Fatal(err)
				}
				b.until("the key goes on", b.settled)
				if d := b.trouble().DeadLetters; len(d) != 0 {
					t.Errorf("dead letters %+v", d)
				}
				if got := stateOf(t, b, "tenant:t"); got != "first bad later " {
					t.Errorf("applied %s", got)
				}
				for _, ev := range b.plugin.seen {
					if ev.GetReplay() {
						t.Error("what comes in its place is no replay")
					}
				}
			})
		})
	}
}

func TestADiscardedDeadLetterLetsItsParkedKeyGoOn(t *testing.T) {
	for name, filter := range map[string]fanout.Filter{
		"by the lane's key": {Key: "tenant:t"}, "by the plugin": {Plugin: "p"}, "by the letter's type": {Type: "test.happened"},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *bundle) {
				_, change := parked(b, pluginpb.Verdict_KIND_REJECT)
				first := b.start(change)
				b.until("the key is parked", b.isParked)
				if err := first.end(); err != nil {
					t.Fatal(err)
				}
				if _, err := fanout.Discard(context.Background(), b.store, filter); err != nil {
					t.Fatal(err)
				}
				b.start(change) // the operator's word outlives a hub
				b.until("the key goes on", b.settled)
				if got := stateOf(t, b, "tenant:t"); got != "first later " {
					t.Errorf("applied %s", got)
				}
				if d := b.trouble().DeadLetters; len(d) != 0 {
					t.Errorf("dead letters %+v", d)
				}
			})
		})
	}
}

func TestAParkedKeyOfCoalescedEventsGoesOn(t *testing.T) {
	for name, do := range map[string]func(context.Context, *bundle) error{
		"when retried": func(ctx context.Context, b *bundle) error {
			_, err := fanout.Retry(ctx, b.store, fanout.Filter{Plugin: "p"})
			return err
		},
		"when discarded": func(ctx context.Context, b *bundle) error {
			_, err := fanout.Discard(ctx, b.store, fanout.Filter{Letter: b.trouble().DeadLetters[0].ID})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *bundle) {
				b.plugin.coalesce = true
				var mended atomic.Bool
				b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) {
					if !mended.Load() {
						return verdict(pluginpb.Verdict_KIND_REJECT, "no"), nil
					}
					return applied(), nil
				}
				for _, id := range []string{"a", "b", "c"} {
					b.append("t", id, "{}")
				}
				b.start(func(c *fanout.Config, _ *fanout.Deps) { c.Park = true })
				b.until("the key is parked", b.isParked)
				mended.Store(true)
				if err := do(context.Background(), b); err != nil {
					t.Fatal(err)
				}
				b.until("nothing is left", func() bool { return b.settled() && len(b.trouble().DeadLetters) == 0 })
				b.append("t", "d", "{}")
				b.until("the key goes on", func() bool { return slices.Contains(b.plugin.delivered(), "d") && b.settled() })
			})
		})
	}
}
