package fanout_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// state is what operators see of the plugin.
func (b *bundle) state() string {
	list, err := fanout.Plugins(context.Background(), b.store)
	if err != nil || len(list) != 1 {
		return ""
	}
	return list[0].State
}

// An outage of days dead-letters nobody, counts no attempts, and one event that
// works ends it, also when the hub is started anew in the middle.
func TestLaw6_AnOutageOfThePluginsWorldBurnsNobodysAttempts(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const tenants = 20
		var down atomic.Bool
		var ahead atomic.Int64 // of the clock
		now := func() time.Time { return store.Now().Add(time.Duration(ahead.Load())) }
		// Calls that were under way when the breaker opened, four of the main stream
		// and eight of lanes, are no probes.
		const underWay = 12
		var mu sync.Mutex
		calls, probes, most := 0, -1, 0
		b.plugin.call = func(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
			inner := &fake{deliver: func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
				b.plugin.mu.Lock()
				b.plugin.seen = append(b.plugin.seen, ev)
				b.plugin.mu.Unlock()
				if down.Load() {
					return verdict(pluginpb.Verdict_KIND_RETRY, "the world is closed"), nil
				}
				return applied(), nil
			}}
			mu.Lock()
			if calls++; probes >= 0 && calls > probes && down.Load() {
				most = max(most, len(req.GetEvents()))
			}
			mu.Unlock()
			return inner.Deliver(ctx, req)
		}
		change := func(c *fanout.Config, d *fanout.Deps) { c.RetryFor, d.Now = 72*time.Hour, now }
		first := b.start(change)
		for i := range tenants {
			b.append(fmt.Sprintf("t%d", i), fmt.Sprintf("before%d", i), "{}")
		}
		b.until("it works", b.settled)
		down.Store(true)
		for i := range 3 * tenants {
			b.append(fmt.Sprintf("t%d", i%tenants), fmt.Sprintf("e%d", i), "{}")
		}
		b.until("the breaker opens", func() bool { return b.state() == fanout.BreakerOpen })
		mu.Lock()
		probes = calls + underWay
		mu.Unlock()
		if p := b.progress(); !strings.Contains(p.Reason, "the world is closed") || !strings.Contains(p.Reason, "tenants failed") {
			t.Errorf("reason %q", p.Reason)
		}
		position, lanes := b.progress().Position, b.trouble().Lanes
		ahead.Add(int64(48 * time.Hour))
		seen := len(b.plugin.delivered())
		b.until("probes of another key each", func() bool {
			ahead.Add(int64(time.Minute))
			mu.Lock()
			defer mu.Unlock()
			if calls <= probes {
				return false
			}
			ids := b.plugin.delivered()[seen:]
			return len(slices.Compact(slices.Sorted(slices.Values(ids)))) >= 5
		})
		if err := first.end(); err != nil {
			t.Fatal(err)
		}
		ahead.Add(int64(48 * time.Hour))
		b.start(change)
		seen = len(b.plugin.delivered())
		b.until("the new hub probes, too", func() bool {
			return len(b.plugin.delivered()) > seen+5 && b.state() == fanout.BreakerOpen
		})
		after := b.trouble()
		if len(after.DeadLetters) != 0 {
			t.Errorf("dead letters %+v", after.DeadLetters)
		}
		if got := b.progress().Position; got != position {
			t.Errorf("the cursor moved from %d to %d", position, got)
		}
		for i, l := range after.Lanes {
			if l.Attempts != lanes[i].Attempts || !l.Since.Equal(lanes[i].Since) {
				t.Errorf("the lane was %+v, is %+v", lanes[i], l)
			}
		}
		mu.Lock()
		if most != 1 {
			t.Errorf("%d events in a probe", most)
		}
		mu.Unlock()
		down.Store(false)
		b.until("all is delivered", b.settled)
		b.until("it runs", func() bool { return b.state() == "running" })
		if d := b.trouble().DeadLetters; len(d) != 0 {
			t.Errorf("dead letters %+v", d)
		}
		order := map[string][]string{}
		for _, ev := range b.plugin.seen {
			order[ev.GetKey()] = append(order[ev.GetKey()], ev.GetId())
		}
		for i := range tenants {
			want := []string{fmt.Sprintf("before%d", i), fmt.Sprintf("e%d", i), fmt.Sprintf("e%d", i+tenants), fmt.Sprintf("e%d", i+2*tenants)}
			if got := slices.Compact(order[fmt.Sprintf("tenant:t%d", i)]); !slices.Equal(got, want) {
				t.Errorf("tenant %d got %v, want %v", i, got, want)
			}
		}
	})
}

func TestLaw6_OneBadTenantNeverOpensTheBreaker(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.order = "subject" // so that every event of the tenant has a key of its own
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			if ev.GetTenantId() == "bad" {
				return verdict(pluginpb.Verdict_KIND_RETRY, "no"), nil
			}
			return applied(), nil
		}
		b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Backoff = func(int) time.Duration { return time.Hour } })
		for i := range 40 {
			person := fmt.Sprintf(`{"assignment_id":"l%d","sub":"u%d"}`, i, i)
			b.appendOf("license.assigned", "bad", fmt.Sprintf("bad%d", i), person)
			b.append("good", fmt.Sprintf("good%d", i), "{}")
		}
		b.until("a lane for each person", func() bool { return len(b.trouble().Lanes) == 40 })
		b.until("the other tenant's events", func() bool { return slices.Contains(b.plugin.delivered(), "good39") })
		if s := b.state(); s != "running" {
			t.Errorf("the plugin is %s", s)
		}
	})
}

func TestAnOperatorsRetryProbesAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var down atomic.Bool
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) {
			if down.Load() {
				return verdict(pluginpb.Verdict_KIND_RETRY, "down"), nil
			}
			return applied(), nil
		}
		down.Store(true)
		// A probe by itself would take an hour.
		b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Backoff = func(int) time.Duration { return time.Hour } })
		for i := range 3 { // lanes before there are enough tenants to tell
			b.append(fmt.Sprintf("t%d", i), fmt.Sprintf("e%d", i), "{}")
			b.until("a lane", func() bool { return len(b.trouble().Lanes) == i+1 })
		}
		for i := 3; i < 8; i++ {
			b.append(fmt.Sprintf("t%d", i), fmt.Sprintf("e%d", i), "{}")
		}
		b.until("the breaker opens", func() bool { return b.state() == fanout.BreakerOpen })
		seen := len(b.plugin.delivered())
		if _, err := fanout.Retry(context.Background(), b.store, fanout.Filter{Key: "tenant:t1"}); err != nil {
			t.Fatal(err)
		}
		b.until("the lane is tried", func() bool { return slices.Contains(b.plugin.delivered()[seen:], "e1") })
		down.Store(false)
		if _, err := fanout.Retry(context.Background(), b.store, fanout.Filter{Plugin: "p"}); err != nil {
			t.Fatal(err)
		}
		b.until("all is delivered", b.settled)
	})
}

// Four calls of hundreds of events are under way when one event kills the
// plugin, again and again. It alone is given up, with what the plugin said last,
// and nobody else notices more than a delay.
func TestLaw6_APoisonousEventCostsOnlyItself(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const events, tenants = 1500, 40
		p := newMortal("e777")
		for i := range events {
			b.append(fmt.Sprintf("t%d", i%tenants), fmt.Sprintf("e%d", i), "{}")
		}
		b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Plugin = p })
		b.until("all is settled", b.settled)
		d := b.trouble().DeadLetters
		if len(d) != 1 || d[0].EventID != "e777" || !strings.Contains(d[0].Reason, "panic: e777 is not for me") || d[0].Attempts < 3 {
			t.Fatalf("dead letters %+v", d)
		}
		if n := p.deaths(); n > 16 {
			t.Errorf("it died %d times", n)
		}
		if p.unexcused != 0 {
			t.Errorf("%d deaths were not excused", p.unexcused)
		}
		for i := range tenants {
			var want strings.Builder
			for n := i; n < events; n += tenants {
				if n != 777 {
					fmt.Fprintf(&want, "e%d ", n)
				}
			}
			if got := stateOf(t, b, fmt.Sprintf("tenant:t%d", i)); got != want.String() {
				t.Errorf("tenant %d applied %s, want %s", i, got, want.String())
			}
		}
	})
}

// A hub that dies in the middle of the search starts over.
func TestLaw7_TheSearchForAPoisonousEventSurvivesHubs(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		p := newMortal("e33")
		for i := range 60 {
			b.append(fmt.Sprintf("t%d", i%7), fmt.Sprintf("e%d", i), "{}")
		}
		for n := range 4 {
			b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Plugin = p })
			b.until("deaths", func() bool { return p.deaths() > 2*n })
		}
		b.until("all is settled", b.settled)
		if d := b.trouble().DeadLetters; len(d) != 1 || d[0].EventID != "e33" {
			t.Fatalf("dead letters %+v", d)
		}
	})
}

// A plugin that dies of everything is at fault itself: no event is given up for
// it, and its deaths are excused only as long as they may still be an event's.
func TestLaw6_APluginThatDiesOfEverythingGivesNothingUp(t *testing.T) {
	for name, tenants := range map[string]int{"many tenants": 30, "one tenant": 1} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, b *bundle) {
				p := newMortal("")
				for i := range 90 {
					b.append(fmt.Sprintf("t%d", i%tenants), fmt.Sprintf("e%d", i), "{}")
				}
				b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Plugin = p })
				b.until("it died many times", func() bool { return p.deaths() > 40 })
				if p.missing() < 10 {
					t.Errorf("all but %d deaths were excused", p.missing())
				}
				if d := b.trouble().DeadLetters; len(d) != 0 {
					t.Errorf("dead letters %+v", d)
				}
				if tenants > 1 {
					b.until("the breaker opens", func() bool { return b.state() == fanout.BreakerOpen })
				}
				p.mend()
				b.until("all is settled", b.settled)
				if d := b.trouble().DeadLetters; len(d) != 0 {
					t.Errorf("dead letters %+v", d)
				}
			})
		})
	}
}

// A call that hangs on one event holds up its key alone, and is no proof of
// poison: the event is tried for as long as any other.
func TestLaw6_AnEventThatHangsHoldsUpItsKeyAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		var mended atomic.Bool
		inner := &fake{deliver: func(ev *pluginpb.Event, st []byte) (*pluginpb.Verdict, []byte) {
			return applied(), fmt.Appendf(st, "%s ", ev.GetId())
		}}
		b.plugin.call = func(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
			if !mended.Load() && slices.ContainsFunc(req.GetEvents(), func(ev *pluginpb.Event) bool { return ev.GetId() == "e55" }) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return inner.Deliver(ctx, req)
		}
		for i := range 200 {
			b.append(fmt.Sprintf("t%d", i%10), fmt.Sprintf("e%d", i), "{}")
		}
		b.start(func(c *fanout.Config, _ *fanout.Deps) { c.CallTimeout = 50 * time.Millisecond })
		b.until("all others are delivered, and it waits", func() bool {
			l := b.trouble().Lanes
			return len(l) == 1 && l[0].Head == 56 && l[0].Attempts > 2 && len(inner.delivered()) >= 185
		})
		if d := b.trouble().DeadLetters; len(d) != 0 {
			t.Errorf("dead letters %+v", d)
		}
		mended.Store(true)
		b.until("all is settled", b.settled)
		var want strings.Builder
		for n := 5; n < 200; n += 10 {
			fmt.Fprintf(&want, "e%d ", n)
		}
		if got := stateOf(t, b, "tenant:t5"); got != want.String() {
			t.Errorf("applied %s, want %s", got, want.String())
		}
	})
}

// The partitions of a plugin share its process on a hub, and die together. The
// event that another partition's deaths meet again and again is not the culprit.
func TestLaw6_APoisonousEventCostsOtherPartitionsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const partitions = 4
		p := newMortal("poison")
		inPartition := func(part, from int) string { // a tenant
			for n := from; ; n++ {
				if key := fmt.Sprintf("t%d", n); fanout.Slot("tenant:"+key)%partitions == part {
					return key
				}
			}
		}
		for n := range 250 {
			b.append(inPartition(0, 0), fmt.Sprintf("before%d", n), "{}")
		}
		b.append(inPartition(0, 0), "poison", "{}")
		p.slow = "slow"
		b.append(inPartition(1, 100), "other", "{}")
		b.append(inPartition(1, 0), "slow", "{}")
		for part := 2; part < partitions; part++ {
			for n := range 20 {
				b.append(inPartition(part, 0), fmt.Sprintf("part%d-%d", part, n), "{}")
			}
		}
		company := &fanout.Company{}
		for part := range partitions {
			b.start(func(c *fanout.Config, d *fanout.Deps) {
				c.Partition, c.Partitions, d.Plugin, d.Company = part, partitions, p, company
			})
		}
		b.until("all is settled", b.settled)
		if d := b.trouble().DeadLetters; len(d) != 1 || d[0].EventID != "poison" {
			t.Fatalf("dead letters %+v", d)
		}
		t.Logf("it died %d times", p.deaths())
	})
}
