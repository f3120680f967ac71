package fanout_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// appendMember journals an event of a person in a tenant.
func (b *bundle) appendMember(tenant, sub, id string) {
	b.t.Helper()
	body := fmt.Sprintf(`{"id":%q,"type":"member.joined","timestamp":"2026-01-02T03:04:05.678Z","tenant_id":%q,"application_id":null,"data":{"membership_id":"m","sub":%q}}`, id, tenant, sub)
	ev, err := event.DecodeWebhook([]byte(body))
	if err != nil {
		b.t.Fatal(err)
	}
	ev.Source, ev.ReceivedAt, ev.Evidence.Body = "test", store.Now(), []byte(body)
	if _, err := b.journal.Append(context.Background(), ev); err != nil {
		b.t.Fatal(err)
	}
}

// ledger is a plugin without state whose outside remembers all that was applied,
// and at whose door some keys fail.
type ledger struct {
	mu      sync.Mutex
	applied []string
	times   map[string]int
	failing map[string]bool // by tenant
}

func (l *ledger) deliver(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing[ev.GetTenantId()] {
		return verdict(pluginpb.Verdict_KIND_RETRY, "not now"), nil
	}
	l.applied = append(l.applied, ev.GetId())
	l.times[ev.GetId()]++
	return applied(), nil
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.applied)
}

func (l *ledger) fail(tenants ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing = map[string]bool{}
	for _, t := range tenants {
		l.failing[t] = true
	}
}

// Over many changes of the number of partitions, and of what divides keys, while
// some keys are blocked and events come in, each event is applied once and in
// the order of its key.
func TestLaw8_DividingKeysAnewNeitherLosesNorDoubles(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const tenants, each = 24, 60
		l := &ledger{times: map[string]int{}}
		l.fail()
		b.plugin.deliver = l.deliver
		ctx := context.Background()
		hub := fanout.NewLeases(b.store, fanout.LeaseOptions{Hub: "h", Name: "h"})
		must(t, hub.Create(ctx, "p", 1))

		fed := make(chan struct{})
		go func() {
			defer close(fed)
			for n := range each {
				for tenant := range tenants {
					b.appendMember(fmt.Sprint("t", tenant), fmt.Sprintf("u%d-%d", tenant, n%3), fmt.Sprintf("t%d-%d-%02d", tenant, n%3, n))
				}
			}
		}()
		partitions := 1
		for round, next := range []int{4, 3, 8, 1, 5, 5, 2} {
			l.fail(fmt.Sprint("t", round), fmt.Sprint("t", rand.IntN(tenants)), fmt.Sprint("t", rand.IntN(tenants)))
			var at []*running
			var leases []*fanout.Lease
			for p := range partitions {
				lease := b.acquire(hub, p, partitions)
				if lease == nil {
					t.Fatalf("partition %d of %d was not to be had", p, partitions)
				}
				leases = append(leases, lease)
				at = append(at, b.start(func(c *fanout.Config, d *fanout.Deps) {
					c.Partition, c.Partitions, d.Lease = p, partitions, lease
					d.Backoff = func(int) time.Duration { return time.Duration(rand.IntN(40)) * time.Millisecond }
				}))
			}
			before := l.count()
			b.until("something is applied", func() bool {
				select {
				case <-fed:
					return true
				default:
					return l.count() > before+100
				}
			})
			if done, err := hub.Repartition(ctx, "p", next, ""); err != nil || done {
				t.Fatalf("keys were divided under the feet of those who work: %v", err)
			}
			for i, r := range at {
				if err := r.end(); err != nil && !errors.Is(err, fanout.ErrRedivide) {
					t.Fatal(err)
				}
				must(t, hub.Release(ctx, leases[i]))
			}
			if done, err := hub.Repartition(ctx, "p", next, ""); err != nil || !done {
				t.Fatalf("keys were not divided anew: %v", err)
			}
			partitions = next
		}
		<-fed
		l.fail()
		for p := range partitions {
			lease := b.acquire(hub, p, partitions)
			b.start(func(c *fanout.Config, d *fanout.Deps) { c.Partition, c.Partitions, d.Lease = p, partitions, lease })
		}
		b.until("everything is applied", b.settled)
		l.check(t, tenants*each)
	})
}

func (l *ledger) check(t *testing.T, want int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.times) != want {
		t.Errorf("%d events of %d were applied", len(l.times), want)
	}
	last := map[string]string{}
	for _, id := range l.applied {
		if l.times[id] != 1 {
			t.Errorf("%s was applied %d times", id, l.times[id])
		}
		key := id[:strings.LastIndexByte(id, '-')]
		if n := id[len(key)+1:]; n < last[key] {
			t.Errorf("%s came after %s-%s", id, key, last[key])
		} else {
			last[key] = n
		}
	}
}

// A new version of a plugin may ask for another order.
func TestLaw8_AnotherOrderDividesKeysAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		l := &ledger{times: map[string]int{}}
		l.fail()
		b.plugin.deliver = l.deliver
		ctx := context.Background()
		hub := fanout.NewLeases(b.store, fanout.LeaseOptions{Hub: "h", Name: "h"})
		must(t, hub.Create(ctx, "p", 4))
		// Partitions come to stand far apart: only some are worked on.
		total := 0
		feed := func(n int) {
			for i := range n {
				b.appendMember(fmt.Sprint("t", i%20), fmt.Sprint("u", i%7), fmt.Sprintf("t%d-%d-%05d", i%20, i%7, total))
				total++
			}
		}
		feed(200)
		some := []int{0, 2}
		for _, p := range some {
			lease := b.acquire(hub, p, 4)
			r := b.start(func(c *fanout.Config, d *fanout.Deps) { c.Partition, c.Partitions, d.Lease = p, 4, lease })
			b.until("its part is delivered", func() bool {
				list, err := fanout.Plugins(ctx, b.store)
				return err == nil && list[0].Partitions[p].Lag == 0
			})
			must(t, r.end())
			must(t, hub.Release(ctx, lease))
		}
		b.plugin = &fake{order: plugin.PerSubject, deliver: l.deliver}
		lease := b.acquire(hub, 1, 4)
		r := b.start(func(c *fanout.Config, d *fanout.Deps) { c.Partition, c.Partitions, d.Lease = 1, 4, lease })
		if err := r.wait(); !errors.Is(err, fanout.ErrRedivide) {
			t.Fatalf("it ended with %v", err)
		}
		must(t, hub.Release(ctx, lease))
		if done, err := hub.Repartition(ctx, "p", 4, "subject"); err != nil || !done {
			t.Fatal(err)
		}
		for p := range 4 {
			lease := b.acquire(hub, p, 4)
			b.start(func(c *fanout.Config, d *fanout.Deps) { c.Partition, c.Partitions, d.Lease = p, 4, lease })
		}
		feed(100)
		b.until("everything is applied", b.settled)
		l.check(t, total)
	})
}

// Total order is one line: it cannot be divided.
func TestAPluginOfTotalOrderIsNotDivided(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.order = plugin.Total
		b.append("t", "e", `{}`)
		r := b.start(func(c *fanout.Config, _ *fanout.Deps) { c.Partitions = 2 })
		if err := r.wait(); !errors.Is(err, fanout.ErrHalted) {
			t.Errorf("it ended with %v", err)
		}
		list, err := fanout.Plugins(context.Background(), b.store)
		must(t, err)
		if p := list[0]; p.State != "halted" || !strings.Contains(p.Reason, "total order") || !strings.Contains(p.Reason, "set partitions to 1") {
			t.Errorf("%+v", p)
		}
		if ids := b.plugin.delivered(); len(ids) > 0 {
			t.Errorf("it was given %v", ids)
		}
	})
}

// A cursor that is missing begins where the journal does: what was pruned cannot
// be had any more.
func TestLaw8_DividingKeysAnewWithACursorMissingBeginsWhereTheJournalDoes(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		l := &ledger{times: map[string]int{}}
		l.fail()
		b.plugin.deliver = l.deliver
		ctx := context.Background()
		hub := fanout.NewLeases(b.store, fanout.LeaseOptions{Hub: "h", Name: "h"})
		must(t, hub.Create(ctx, "p", 2))
		for n := range 10 {
			b.appendMember(fmt.Sprint("t", n), "u", fmt.Sprintf("t%d-u-%02d", n, n))
		}
		for _, statement := range []string{
			`DELETE FROM avhub_events WHERE position <= 4`,
			`INSERT INTO avhub_counters (name, value) VALUES ('journal_first', 5) ON CONFLICT (name) DO UPDATE SET value = 5`,
			`DELETE FROM avhub_cursors WHERE id = 'p/1'`,
			`UPDATE avhub_cursors SET position = 4`,
		} {
			if _, err := b.store.SQL(ctx).Exec(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		if done, err := hub.Repartition(ctx, "p", 3, ""); err != nil || !done {
			t.Fatalf("keys were not divided anew: %v", err)
		}
		for p := range 3 {
			lease := b.acquire(hub, p, 3)
			b.start(func(c *fanout.Config, d *fanout.Deps) { c.Partition, c.Partitions, d.Lease = p, 3, lease })
		}
		b.until("everything is applied", b.settled)
		l.check(t, 6)
	})
}
