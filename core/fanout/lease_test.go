package fanout_test

import (
	"context"
	"crypto/rand"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// leases are those of another hub each time.
func (b *bundle) leases(length time.Duration) *fanout.Leases {
	return fanout.NewLeases(b.store, fanout.LeaseOptions{Hub: rand.Text(), Name: "test", Length: length})
}

func (b *bundle) acquire(l *fanout.Leases, partition, partitions int) *fanout.Lease {
	b.t.Helper()
	lease, err := l.Acquire(context.Background(), fanout.PartitionID{Plugin: "p", Partition: partition}, partitions)
	if err != nil {
		b.t.Fatal(err)
	}
	return lease
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lost(l *fanout.Lease) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

func TestLaw8_APartitionHasOneHolderAtATime(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		ctx := context.Background()
		one, two := b.leases(time.Minute), b.leases(time.Minute)
		must(t, one.Create(ctx, "p", 2))
		first := b.acquire(one, 0, 2)
		if first == nil {
			t.Fatal("a free lease was not to be had")
		}
		if l := b.acquire(two, 0, 2); l != nil {
			t.Error("two hubs hold one lease")
		}
		if l := b.acquire(two, 1, 3); l != nil {
			t.Error("a lease was had by a number of partitions that does not hold")
		}
		must(t, one.Release(ctx, first))
		if !lost(first) {
			t.Error("a lease that was given back is still held")
		}
		second := b.acquire(two, 0, 2)
		if second == nil || second.Epoch <= first.Epoch {
			t.Fatalf("after %+v: %+v", first, second)
		}
		// What comes late of the first holder changes nothing.
		must(t, one.Release(ctx, first))
		if l := b.acquire(one, 0, 2); l != nil {
			t.Error("the second holder's lease was given back by the first")
		}
	})
}

// The holder stops trusting its lease before anybody else can have it.
func TestLaw8_AHolderStopsBeforeItsLeaseCanBeTaken(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const length = 750 * time.Millisecond
		one, two := b.leases(length), b.leases(length)
		must(t, one.Create(context.Background(), "p", 1))
		first := b.acquire(one, 0, 1)
		// Renewed, it lasts.
		for range 3 {
			time.Sleep(length / 2) // the time that a lease takes is what this is about
			must(t, one.Renew(context.Background(), nil, []*fanout.Lease{first}))
			if lost(first) || b.acquire(two, 0, 1) != nil {
				t.Fatal("a lease that was renewed did not last")
			}
		}
		var second *fanout.Lease
		b.until("the lease can be taken", func() bool { second = b.acquire(two, 0, 1); return second != nil })
		if !lost(first) {
			t.Error("the first holder still trusts its lease")
		}
		// It cannot be renewed any more either.
		must(t, one.Renew(context.Background(), nil, []*fanout.Lease{first}))
		if !lost(first) || lost(second) {
			t.Error("a lease came back")
		}
	})
}

// An operator who raises the epoch has the cursor read anew.
func TestLaw8_ALeaseOfAnotherEpochIsOver(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		ctx := context.Background()
		one := b.leases(time.Minute)
		must(t, one.Create(ctx, "p", 1))
		first := b.acquire(one, 0, 1)
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
		r := b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Lease = first })
		b.append("t", "e1", `{}`)
		b.until("it is delivered", b.settled)
		if _, err := b.store.SQL(ctx).Exec(ctx, `UPDATE avhub_cursors SET epoch = epoch + 1 WHERE id = 'p/0'`); err != nil {
			t.Fatal(err)
		}
		if err := r.wait(); !errors.Is(err, fanout.ErrFenced) {
			t.Errorf("it ended with %v", err)
		}
		// Its hub asks again, and has it at once.
		if second := b.acquire(one, 0, 1); second == nil || second.Epoch != first.Epoch+2 {
			t.Errorf("%+v", second)
		}
	})
}

// killed is a plugin whose calls last as long as it lives.
type killed struct {
	*fake
	dead  chan struct{}
	calls atomic.Int32
	limit atomic.Int64 // when the call's time is up, in microseconds
}

func (k *killed) Kill(string) { close(k.dead) }

func (k *killed) Deliver(ctx context.Context, _ *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	k.calls.Add(1)
	at, _ := ctx.Deadline()
	k.limit.Store(at.UnixMicro())
	<-k.dead
	return nil, errCut
}

func TestLaw8_ACallEndsWithTheLeaseAndThePluginIsKilled(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		one, two := b.leases(3*time.Second), b.leases(3*time.Second)
		must(t, one.Create(context.Background(), "p", 1))
		k := &killed{fake: b.plugin, dead: make(chan struct{})}
		b.append("t", "e1", `{}`)
		before := time.Now()
		r := b.start(func(_ *fanout.Config, d *fanout.Deps) { d.Lease, d.Plugin = b.acquire(one, 0, 1), k })
		b.until("a call is made", func() bool { return k.limit.Load() > 0 })
		if left := time.UnixMicro(k.limit.Load()).Sub(before); left > 3*time.Second {
			t.Errorf("the call may last %s, longer than the lease", left)
		}
		if err := r.wait(); !errors.Is(err, fanout.ErrFenced) {
			t.Errorf("it ended with %v", err)
		}
		if n := k.calls.Load(); n != 1 {
			t.Errorf("%d calls", n)
		}
		b.until("another hub can take over", func() bool { return b.acquire(two, 0, 1) != nil })
	})
}

// Hubs whose clocks are wrong by an hour agree on who holds what, and neither
// loses nor doubles anything.
func TestLaw8_HubsWithWrongClocksTakeTurns(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = func(*pluginpb.Event, []byte) (*pluginpb.Verdict, []byte) { return applied(), nil }
		must(t, b.leases(0).Create(context.Background(), "p", 1))
		var want []string
		for i, off := range []time.Duration{time.Hour, -time.Hour, 0, -time.Hour, time.Hour} {
			l := b.leases(time.Minute)
			lease := b.acquire(l, 0, 1)
			if lease == nil {
				t.Fatalf("round %d: the lease was not to be had", i)
			}
			r := b.start(func(_ *fanout.Config, d *fanout.Deps) {
				d.Lease, d.Now = lease, func() time.Time { return store.Now().Add(off) }
			})
			id := string(rune('a' + i))
			want = append(want, id)
			b.append("t", id, `{}`)
			b.until("it is delivered", b.settled)
			if err := r.end(); err != nil {
				t.Fatal(err)
			}
			if b.acquire(b.leases(time.Minute), 0, 1) != nil {
				t.Fatal("another hub had the lease too early")
			}
			must(t, l.Release(context.Background(), lease))
		}
		if got := b.plugin.delivered(); len(got) != len(want) {
			t.Errorf("delivered %v, not %v", got, want)
		}
	})
}

// A hub that is alone on its database goes on at once where a killed one was.
func TestLaw8_AHubAloneTakesEverythingAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		ctx := context.Background()
		dead := b.leases(time.Hour)
		must(t, dead.Create(ctx, "p", 3))
		must(t, dead.Renew(ctx, []string{"p"}, nil))
		for p := range 3 {
			b.acquire(dead, p, 3)
		}
		alone := fanout.NewLeases(b.store, fanout.LeaseOptions{Hub: "next", Name: "next", Alone: true})
		view, err := alone.View(ctx)
		must(t, err)
		take, give := view.Decide([]string{"p"}, func(fanout.PartitionID) time.Duration { return 0 })
		if len(take) != 3 || len(give) > 0 {
			t.Errorf("it takes %v and gives %v", take, give)
		}
		for p := range 3 {
			if b.acquire(alone, p, 3) == nil {
				t.Errorf("partition %d was not to be had", p)
			}
		}
	})
}
