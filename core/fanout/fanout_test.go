package fanout_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

func TestLaw4_EveryEventIsDeliveredInOrderWithinItsKey(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
		want := map[string][]string{}
		for i := range 600 {
			tenant, id := fmt.Sprintf("t%d", i%7), fmt.Sprintf("e%d", i)
			b.append(tenant, id, "{}")
			want["tenant:"+tenant] = append(want["tenant:"+tenant], id)
		}
		r := b.start()
		b.until("all events delivered", b.settled)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		got := map[string][]string{}
		for _, ev := range b.plugin.seen {
			got[ev.GetKey()] = append(got[ev.GetKey()], ev.GetId())
		}
		for key := range want {
			if !slices.Equal(got[key], want[key]) {
				t.Errorf("key %s got %v, want %v", key, got[key], want[key])
			}
		}
	})
}

func TestLaw6_AFailingKeyDelaysOnlyItself(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var broken atomic.Bool
		broken.Store(true)
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if ev.GetTenantId() == "bad" && broken.Load() {
				return verdict(pluginpb.Verdict_KIND_RETRY, "the world is closed"), nil
			}
			return applied(), nil
		}
		b.start()
		b.append("bad", "bad-1", "{}")
		for i := range 20 {
			b.append("good", fmt.Sprintf("good-%d", i), "{}")
			b.append("bad", fmt.Sprintf("bad-late-%d", i), "{}")
		}
		b.until("the other key's events", func() bool { return slices.Contains(b.plugin.delivered(), "good-19") })
		// The plugin saw the event before its verdict was committed.
		b.until("the lane", func() bool { return len(b.trouble().Lanes) > 0 })
		lanes := b.trouble().Lanes
		if len(lanes) != 1 || lanes[0].Key != "tenant:bad" || lanes[0].Head != 1 || lanes[0].Error != "the world is closed" {
			t.Errorf("lanes %+v", lanes)
		}
		if slices.Contains(b.plugin.delivered(), "bad-late-0") {
			t.Error("an event overtook its blocked predecessor")
		}
		broken.Store(false)
		b.until("the lane handed back", b.settled)
		b.append("bad", "bad-last", "{}")
		b.until("the main stream serves the key again", func() bool { return slices.Contains(b.plugin.delivered(), "bad-last") })
		var order []string
		for _, id := range b.plugin.delivered() {
			if strings.HasPrefix(id, "bad-late") || id == "bad-last" {
				order = append(order, id)
			}
		}
		if len(order) != 21 || order[0] != "bad-late-0" || order[20] != "bad-last" {
			t.Errorf("order after the lane: %v", order)
		}
	})
}

func TestRejectedEventBecomesADeadLetterAndItsKeyGoesOn(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var mended atomic.Bool
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if ev.GetId() == "bad" && !mended.Load() {
				return verdict(pluginpb.Verdict_KIND_REJECT, "no such plan\x00"), nil
			}
			return applied(), nil
		}
		b.start()
		b.append("t", "first", "{}")
		position := b.append("t", "bad", `{"plan":"gold"}`)
		b.append("t", "last", "{}")
		b.until("the key goes on", func() bool { return slices.Contains(b.plugin.delivered(), "last") })
		b.until("a dead letter", func() bool { return len(b.trouble().DeadLetters) == 1 })
		d := b.trouble().DeadLetters[0]
		if d.Position != position || d.EventID != "bad" || d.TenantID != "t" || d.Attempts != 1 || !strings.HasPrefix(d.Reason, "no such plan") {
			t.Errorf("dead letter %+v", d)
		}

		ctx := context.Background()
		if n, err := fanout.Retry(ctx, b.store, fanout.Filter{Letter: d.ID}); err != nil || n.DeadLetters != 1 {
			t.Fatal(n, err)
		}
		b.until("a second failure", func() bool { l := b.trouble().DeadLetters; return len(l) == 1 && l[0].Attempts == 2 })
		mended.Store(true)
		if _, err := fanout.Retry(ctx, b.store, fanout.Filter{Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
		b.until("the dead letter is gone", func() bool { return len(b.trouble().DeadLetters) == 0 })
		b.plugin.mu.Lock()
		defer b.plugin.mu.Unlock()
		last := b.plugin.seen[len(b.plugin.seen)-1]
		if last.GetId() != "bad" || !last.GetReplay() || last.GetAttempt() != 3 || string(last.GetData()) != `{"plan":"gold"}` {
			t.Errorf("retried as %v", last)
		}
	})
}

func TestAnEventThatFailsTooLongBecomesADeadLetter(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if ev.GetId() == "bad" {
				return verdict(pluginpb.Verdict_KIND_RETRY, fmt.Sprintf("attempt %d", ev.GetAttempt())), nil
			}
			return applied(), nil
		}
		b.start(func(c *fanout.Config, _ *fanout.Deps) { c.RetryFor = 50 * time.Millisecond })
		b.append("t", "bad", "{}")
		b.append("t", "next", "{}")
		b.until("the key goes on", func() bool { return slices.Contains(b.plugin.delivered(), "next") })
		b.until("hand-back", b.settled)
		d := b.trouble().DeadLetters
		if len(d) != 1 || d[0].Attempts < 2 || len(d[0].History) == 0 || d[0].History[0].Error != "attempt 1" {
			t.Errorf("dead letters %+v", d)
		}
		if len(d[0].History) > 20 {
			t.Errorf("%d errors kept", len(d[0].History))
		}
	})
}

func TestThrottledAttemptsDoNotCount(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var calls atomic.Int32
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if calls.Add(1) < 4 {
				return &pluginpb.Verdict{Kind: pluginpb.Verdict_KIND_RETRY, Throttled: true, RetryAfterMs: 1, Reason: "slow down"}, nil
			}
			return applied(), nil
		}
		b.start(func(c *fanout.Config, _ *fanout.Deps) { c.RetryFor = time.Millisecond })
		b.append("t", "e", "{}")
		b.until("applied in the end", func() bool { return calls.Load() == 4 && b.settled() })
		for _, ev := range b.plugin.seen {
			if ev.GetAttempt() != 1 {
				t.Errorf("attempt %d was counted", ev.GetAttempt())
			}
		}
		if n := len(b.trouble().DeadLetters); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestTimeThatWasThrottledDoesNotCount(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var calls atomic.Int32
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) {
			switch calls.Add(1) {
			case 1:
				return &pluginpb.Verdict{Kind: pluginpb.Verdict_KIND_RETRY, Throttled: true, RetryAfterMs: 500, Reason: "slow down"}, nil
			case 2: // long after retry_for, and its first failure
				return verdict(pluginpb.Verdict_KIND_RETRY, "hiccup"), nil
			}
			return applied(), nil
		}
		b.start(func(c *fanout.Config, _ *fanout.Deps) { c.RetryFor = 300 * time.Millisecond })
		b.append("t", "e", "{}")
		b.until("applied in the end", func() bool { return calls.Load() == 3 && b.settled() })
		if d := b.trouble().DeadLetters; len(d) != 0 {
			t.Errorf("dead letters %+v", d)
		}
	})
}

func TestOperatorDiscardsTheHeadOfALane(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if ev.GetId() == "bad" {
				return verdict(pluginpb.Verdict_KIND_RETRY, "no"), nil
			}
			return applied(), nil
		}
		b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Backoff = func(int) time.Duration { return time.Hour } })
		b.append("t", "bad", "{}")
		b.append("t", "next", "{}")
		b.until("a lane", func() bool { return len(b.trouble().Lanes) == 1 })
		if n, err := fanout.Discard(context.Background(), b.store, fanout.Filter{Key: "tenant:t"}); err != nil || n.Lanes != 1 {
			t.Fatal(n, err)
		}
		b.until("the key goes on", b.settled)
		if got := b.plugin.delivered(); !slices.Equal(got, []string{"bad", "next"}) {
			t.Errorf("delivered %v", got)
		}
	})
}

func TestAgainSavesTheStateBeforeTheEventComesBack(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(ev *pluginpb.Event, state []byte) (*pluginpb.Verdict, []byte) {
			if ev.GetId() != "e" {
				return applied(), nil
			}
			if string(state) == `"intent"` {
				return applied(), []byte(`"done"`)
			}
			return verdict(pluginpb.Verdict_KIND_AGAIN, ""), []byte(`"intent"`)
		}
		b.start()
		b.append("t", "e", "{}")
		b.append("t", "later", "{}")
		b.until("settled", b.settled)
		if got := b.plugin.delivered(); !slices.Equal(got, []string{"e", "e", "later"}) {
			t.Errorf("delivered %v", got)
		}
		for _, ev := range b.plugin.seen {
			if ev.GetAttempt() != 1 {
				t.Error("again counted as an attempt")
			}
		}
	})
}

func TestEndlessAgainIsAFailure(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) {
			return verdict(pluginpb.Verdict_KIND_AGAIN, ""), nil
		}
		b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Backoff = func(int) time.Duration { return time.Hour } })
		b.append("t", "e", "{}")
		b.until("a lane", func() bool { return len(b.trouble().Lanes) == 1 })
		if l := b.trouble().Lanes[0]; !strings.Contains(l.Error, "100 times") {
			t.Errorf("lane says %q", l.Error)
		}
	})
}

func TestHaltLastsUntilTheConfigurationChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var revoked atomic.Bool
		revoked.Store(true)
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) {
			if revoked.Load() {
				return verdict(pluginpb.Verdict_KIND_HALT, "the key was revoked"), nil
			}
			return applied(), nil
		}
		b.append("t", "e", "{}")
		if err := b.start().wait(); !errors.Is(err, fanout.ErrHalted) {
			t.Fatal(err)
		}
		list, err := fanout.Plugins(context.Background(), b.store)
		if err != nil || list[0].State != "halted" || list[0].Reason != "the key was revoked" || list[0].Lag != 1 {
			t.Errorf("%+v %v", list, err)
		}
		if err := b.start().wait(); !errors.Is(err, fanout.ErrHalted) || !strings.Contains(err.Error(), "revoked") {
			t.Fatal(err)
		}
		if n := len(b.plugin.delivered()); n != 1 {
			t.Errorf("%d deliveries while halted", n)
		}
		revoked.Store(false)
		b.start(func(c *fanout.Config, _ *fanout.Deps) { c.ConfigHash = "2" })
		b.until("delivered after the change", b.settled)
	})
}

func TestLaw8_AnOwnerThatWasReplacedCommitsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		entered, leave := make(chan struct{}), make(chan struct{})
		var once sync.Once
		b.plugin.deliver = func(_ *pluginpb.Event, state []byte) (*pluginpb.Verdict, []byte) {
			first := false
			once.Do(func() { first = true })
			if first {
				close(entered)
				<-leave
				return applied(), []byte(`"of the old owner"`)
			}
			return applied(), append(state, '1')
		}
		b.append("t", "e", "{}")
		old := b.start()
		<-entered
		b.start()
		b.until("the new owner delivers", b.settled)
		close(leave)
		if err := old.wait(); !errors.Is(err, fanout.ErrFenced) {
			t.Errorf("the old owner ended with %v", err)
		}
		if got := stateOf(t, b, "tenant:t"); got != "1" {
			t.Errorf("state is %q", got)
		}
	})
}

func TestInterruptedCallsIsolateTheEventThatCausesThem(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		poisoned := func(req *pluginpb.DeliverRequest) bool {
			return slices.ContainsFunc(req.GetEvents(), func(ev *pluginpb.Event) bool { return ev.GetId() == "poison" })
		}
		inner := &fake{deliver: func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }}
		b.plugin.call = func(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
			if poisoned(req) {
				return nil, errCut
			}
			return inner.Deliver(ctx, req)
		}
		for i := range 10 {
			b.append(fmt.Sprintf("t%d", i), fmt.Sprintf("e%d", i), "{}")
		}
		b.append("t3", "poison", "{}")
		b.append("t3", "behind", "{}")
		b.start(func(c *fanout.Config, _ *fanout.Deps) { c.RetryFor = 100 * time.Millisecond })
		b.until("all else is delivered", b.settled)
		d := b.trouble().DeadLetters
		if len(d) == 0 || !slices.ContainsFunc(d, func(l *fanout.DeadLetter) bool {
			return l.EventID == "poison" && strings.Contains(l.Reason, "connection cut")
		}) {
			t.Fatalf("dead letters %+v", d)
		}
		for i := range 10 {
			if i != 3 && !slices.Contains(inner.delivered(), fmt.Sprintf("e%d", i)) {
				t.Errorf("e%d was not delivered", i)
			}
		}
	})
}

func TestWhatBreaksTheProtocolIsNeverCommitted(t *testing.T) {
	t.Parallel()
	cases := map[string]func(req *pluginpb.DeliverRequest, resp *pluginpb.DeliverResponse){
		"too few verdicts":    func(_ *pluginpb.DeliverRequest, r *pluginpb.DeliverResponse) { r.Verdicts = r.Verdicts[1:] },
		"positions exchanged": func(_ *pluginpb.DeliverRequest, r *pluginpb.DeliverResponse) { slices.Reverse(r.Verdicts) },
		"unknown verdict":     func(_ *pluginpb.DeliverRequest, r *pluginpb.DeliverResponse) { r.Verdicts[0].Kind = 99 },
		"went on after a retry": func(_ *pluginpb.DeliverRequest, r *pluginpb.DeliverResponse) {
			r.Verdicts[0].Kind = pluginpb.Verdict_KIND_RETRY
		},
		"state of another key": func(_ *pluginpb.DeliverRequest, r *pluginpb.DeliverResponse) {
			r.States = map[string][]byte{"tenant:other": []byte("1")}
		},
		"giant state": func(_ *pluginpb.DeliverRequest, r *pluginpb.DeliverResponse) {
			r.States = map[string][]byte{"tenant:t": make([]byte, 65<<10)}
		},
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *bundle) {
				inner := &fake{deliver: func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), []byte(`"ok"`) }}
				var spoiled atomic.Bool
				b.plugin.call = func(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
					resp, err := inner.Deliver(ctx, req)
					if spoiled.CompareAndSwap(false, true) {
						spoil(req, resp)
					}
					return resp, err
				}
				b.append("t", "e1", "{}")
				b.append("t", "e2", "{}")
				b.start()
				b.until("settled", b.settled)
				if got := inner.delivered(); !slices.Equal(got, []string{"e1", "e2", "e1", "e2"}) {
					t.Errorf("delivered %v", got)
				}
				if got := stateOf(t, b, "tenant:t"); got != `"ok"` {
					t.Errorf("state %q", got)
				}
			})
		})
	}
}

func TestAnOversizedEventIsDeadLetteredByName(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
		big, _ := json.Marshal(map[string]string{"x": strings.Repeat("y", 1<<20)})
		b.append("t", "small", "{}")
		b.append("t", "huge", string(big))
		b.append("t", "next", "{}")
		b.start()
		b.until("the key goes on", func() bool { return slices.Contains(b.plugin.delivered(), "next") && b.settled() })
		d := b.trouble().DeadLetters
		if len(d) != 1 || d[0].EventID != "huge" || !strings.Contains(d[0].Reason, "1048576 are allowed") {
			t.Errorf("dead letters %+v", d)
		}
		if slices.Contains(b.plugin.delivered(), "huge") {
			t.Error("it was delivered")
		}
	})
}

func TestCoalescingDeliversOnlyTheNewestOfAKey(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.coalesce = true
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
		for i := range 30 {
			b.append(fmt.Sprintf("t%d", i%3), fmt.Sprintf("e%d", i), "{}")
		}
		b.start()
		b.until("settled", b.settled)
		got := b.plugin.delivered()
		slices.Sort(got)
		if !slices.Equal(got, []string{"e27", "e28", "e29"}) {
			t.Errorf("delivered %v", got)
		}
	})
}

// stateOf reads what is stored for a key.
func stateOf(t *testing.T, b *bundle, key string) string {
	t.Helper()
	row, err := b.store.Read().PluginState.Get(context.Background(), "p/"+key)
	if err != nil {
		t.Fatal(err)
	}
	return string(row.State)
}

// After an outage of the plugin's world there are many lanes and dead letters.
// They are worked off as fast as the plugin answers, not a few at each poll.
func TestManyLanesAndDeadLettersAreWorkedOffWithoutPauses(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const keys = 600 // at a few for each poll, more than this test's patience
		var down atomic.Bool
		down.Store(true)
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			switch {
			case !down.Load(), strings.HasPrefix(ev.GetId(), "good"):
				return applied(), nil
			case strings.HasPrefix(ev.GetId(), "rejected"):
				return verdict(pluginpb.Verdict_KIND_REJECT, "no"), nil
			}
			return verdict(pluginpb.Verdict_KIND_RETRY, "down"), nil
		}
		b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Backoff = func(int) time.Duration { return time.Hour } })
		for i := range 64 {
			b.append(fmt.Sprintf("g%d", i), fmt.Sprintf("good%d", i), "{}")
		}
		b.until("it works for others", func() bool { return len(b.plugin.delivered()) == 64 })
		var wg sync.WaitGroup
		for sender := range 20 {
			wg.Go(func() {
				for i := sender; i < keys; i += 20 {
					b.append(fmt.Sprintf("t%d", i), fmt.Sprintf("e%d", i), "{}")
					b.append(fmt.Sprintf("r%d", i), fmt.Sprintf("rejected%d", i), "{}")
					for n := range 4 { // else the plugin itself would be at fault
						b.append(fmt.Sprintf("g%d", (4*i+n)%64), fmt.Sprintf("good%d-%d", i, n), "{}")
					}
				}
			})
		}
		wg.Wait()
		ctx := context.Background()
		b.until("all are in trouble", func() bool {
			n, err := fanout.Count(ctx, b.store, fanout.Filter{})
			return err == nil && n == fanout.Affected{Lanes: keys, DeadLetters: keys}
		})
		down.Store(false)
		if n, err := fanout.Retry(ctx, b.store, fanout.Filter{}); err != nil || n.Lanes != keys || n.DeadLetters != keys {
			t.Fatal(n, err)
		}
		b.until("all is well again", func() bool {
			n, err := fanout.Count(ctx, b.store, fanout.Filter{})
			return err == nil && n == fanout.Affected{}
		})
	})
}

// What holds for single events holds for those that stand for others, too: the
// key is tried alone, has its time, and is given up; then it goes on.
func TestCoalescedEventsThatKeepFailingAreGivenUp(t *testing.T) {
	for name, fail := range map[string]func() (*pluginpb.Verdict, error){
		"by a verdict":        func() (*pluginpb.Verdict, error) { return verdict(pluginpb.Verdict_KIND_RETRY, "no"), nil },
		"by cutting the call": func() (*pluginpb.Verdict, error) { return nil, errCut },
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *bundle) {
				b.plugin.coalesce = true
				var mended atomic.Bool
				b.plugin.call = func(_ context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
					resp := &pluginpb.DeliverResponse{}
					for _, ev := range req.GetEvents() {
						v := applied()
						if ev.GetTenantId() == "bad" && !mended.Load() {
							var err error
							if v, err = fail(); err != nil {
								return nil, err
							}
						}
						v.Position = ev.GetPosition()
						resp.Verdicts = append(resp.Verdicts, v)
					}
					return resp, nil
				}
				for i := range 10 {
					b.append("bad", fmt.Sprintf("bad-%d", i), "{}")
					b.append("good", fmt.Sprintf("good-%d", i), "{}")
				}
				b.start(func(c *fanout.Config, _ *fanout.Deps) { c.RetryFor = 100 * time.Millisecond })
				b.until("the failing key is given up", b.settled)
				d := b.trouble().DeadLetters
				if len(d) == 0 || d[0].EventID != "bad-9" || d[0].Attempts < 2 {
					t.Fatalf("dead letters %+v", d)
				}
				mended.Store(true)
				b.append("bad", "bad-last", "{}")
				b.until("the key goes on", b.settled)
			})
		})
	}
}

func TestTheBodyTravelsOnlyToAPluginThatAsksForIt(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
		asks := &fake{order: plugin.PerTenant, body: true, deliver: b.plugin.deliver}
		// With its body once more, this event is over what an event may have.
		large := fmt.Sprintf(`{ "pad":%q }`, strings.Repeat("x", 600<<10))
		b.append("t1", "small", `{"n": 1}`)
		b.append("t1", "large", large)
		b.start()
		b.start(func(c *fanout.Config, d *fanout.Deps) { c.Name, d.Plugin = "q", asks })
		for _, f := range []*fake{b.plugin, asks} {
			b.until("both events are delivered", func() bool { return len(f.delivered()) == 2 })
		}
		for i, data := range []string{`{"n": 1}`, large} {
			if body := b.plugin.seen[i].GetBody(); len(body) != 0 {
				t.Errorf("a plugin that does not ask got %d bytes", len(body))
			}
			body := string(asks.seen[i].GetBody())
			if !strings.HasPrefix(body, `{"id":`) || !strings.HasSuffix(body, data+"}") || string(asks.seen[i].GetData()) != data {
				t.Errorf("event %d came with the body %.200q", i, body)
			}
		}
	})
}
