package fanout_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/plugin"
)

// A new version of a plugin asks for another order while keys of the former one
// are blocked. Their events are neither lost nor overtaken.
func TestLaw4_AnotherOrderWaitsForWhatIsBlockedUnderTheFormerOne(t *testing.T) {
	for _, partitions := range []int{1, 3} {
		for name, orders := range map[string][2]plugin.Order{
			"from tenants to people": {plugin.PerTenant, plugin.PerSubject},
			"from people to tenants": {plugin.PerSubject, plugin.PerTenant},
			"from tenants to total":  {plugin.PerTenant, plugin.Total},
			"from total to people":   {plugin.Total, plugin.PerSubject},
		} {
			if partitions > 1 && (orders[0] == plugin.Total || orders[1] == plugin.Total) {
				continue
			}
			t.Run(fmt.Sprintf("%s, partitions %d", name, partitions), func(t *testing.T) {
				onBoth(t, func(t *testing.T, b *bundle) { anotherOrder(t, b, partitions, orders[0], orders[1]) })
			})
		}
	}
}

func anotherOrder(t *testing.T, b *bundle, partitions int, before, after plugin.Order) {
	ctx := context.Background()
	l := &ledger{times: map[string]int{}}
	l.fail("t0", "t1")
	b.plugin = &fake{order: before, deliver: l.deliver}
	hub := fanout.NewLeases(b.store, fanout.LeaseOptions{Hub: "h", Name: "h"})
	must(t, hub.Create(ctx, "p", partitions))
	total := 0
	feed := func(n int) {
		for i := range n {
			b.appendMember(fmt.Sprint("t", i%7), fmt.Sprint("u", i%5), fmt.Sprintf("t%d-%d-%05d", i%7, i%5, total))
			total++
		}
	}
	start := func() (all []*running, leases []*fanout.Lease) {
		for p := range partitions {
			lease := b.acquire(hub, p, partitions)
			leases = append(leases, lease)
			all = append(all, b.start(func(c *fanout.Config, d *fanout.Deps) { c.Partition, c.Partitions, d.Lease = p, partitions, lease }))
		}
		return all, leases
	}
	state := func() fanout.Progress {
		list, err := fanout.Plugins(ctx, b.store)
		must(t, err)
		return list[0]
	}
	feed(70)
	all, leases := start()
	b.until("all is read, and some is blocked", func() bool { p := state(); return p.Lag == 0 && p.Lanes > 0 })
	for i, r := range all {
		must(t, r.end())
		must(t, hub.Release(ctx, leases[i]))
	}

	b.plugin = &fake{order: after, deliver: l.deliver}
	feed(70)
	already := l.count()
	all, leases = start()
	b.until("it says what it waits for", func() bool { return strings.Contains(state().Reason, "it asks for the order "+string(after)) })
	b.until("blocked keys are tried", func() bool { return b.trouble().Lanes[0].Attempts > 5 })
	if n := l.count(); n != already {
		t.Errorf("%d events went by what is blocked", n-already)
	}
	l.fail()
	for i, r := range all {
		if err := r.wait(); !errors.Is(err, fanout.ErrRedivide) {
			t.Fatalf("it ended with %v", err)
		}
		must(t, hub.Release(ctx, leases[i]))
	}
	by := "tenant"
	if after == plugin.PerSubject {
		by = "subject"
	}
	if done, err := hub.Repartition(ctx, "p", partitions, by); err != nil || !done {
		t.Fatal(err)
	}
	start()
	b.until("everything is applied", b.settled)
	l.check(t, total)
	if n := len(b.trouble().DeadLetters); n > 0 {
		t.Errorf("%d dead letters", n)
	}
}
