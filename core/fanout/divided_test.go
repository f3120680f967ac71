package fanout_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// divided works on a plugin that is divided into partitions as a hub does: one
// that is fenced asks for its lease again.
func (b *bundle) divided(partitions int, from fanout.Start, change ...func(*fanout.Config, *fanout.Deps)) {
	b.t.Helper()
	hub := b.leases(time.Minute)
	ctx, cancel := context.WithCancel(context.Background())
	must(b.t, hub.CreateAt(ctx, b.journal, "p", partitions, from))
	var working sync.WaitGroup
	b.t.Cleanup(func() { cancel(); working.Wait() })
	for p := range partitions {
		working.Go(func() {
			for ctx.Err() == nil {
				lease, err := hub.Acquire(context.Background(), fanout.PartitionID{Plugin: "p", Partition: p}, partitions)
				if err != nil || lease == nil {
					b.t.Errorf("partition %d was not to be had: %v", p, err)
					return
				}
				cfg, deps := b.config(), b.deps()
				cfg.Partition, cfg.Partitions, deps.Lease = p, partitions, lease
				for _, f := range change {
					f(&cfg, &deps)
				}
				if err := fanout.New(cfg, deps).Run(ctx); err != nil && !errors.Is(err, fanout.ErrFenced) {
					b.t.Errorf("partition %d: %v", p, err)
					return
				}
			}
		})
	}
}

// appendAt journals an event of a person that was received at a time.
func (b *bundle) appendAt(tenant, sub, id string, at time.Time) {
	body := fmt.Sprintf(`{"id":%q,"type":"member.joined","timestamp":"2026-01-02T03:04:05.678Z","tenant_id":%q,"application_id":null,"data":{"membership_id":"m","sub":%q}}`, id, tenant, sub)
	ev, err := event.DecodeWebhook([]byte(body))
	if err == nil {
		ev.Source, ev.ReceivedAt, ev.Evidence.Body = "test", at, []byte(body)
		_, err = b.journal.Append(context.Background(), ev)
	}
	if err != nil {
		b.t.Error(err)
	}
}

// byKey are the ids of what the plugin was given, live or as a replay.
func (f *fake) byKey(replay bool) map[string][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := map[string][]string{}
	for _, ev := range f.seen {
		if ev.GetReplay() == replay {
			ids[ev.GetKey()] = append(ids[ev.GetKey()], ev.GetId())
		}
	}
	return ids
}

func TestLaw4_TheDayOfATenantComesAgainInOrderWhileLiveEventsFlow(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const people, each = 12, 10
		b.plugin.order, b.plugin.deliver = plugin.PerSubject, applyAll
		live, again := map[string][]string{}, map[string][]string{}
		day := store.Now().Add(-72 * time.Hour).Truncate(24 * time.Hour)
		fill := func(name string, at time.Time) {
			for n := range each {
				for p := range people {
					for _, tenant := range []string{"a", "b"} {
						sub, id := fmt.Sprintf("%s%d", tenant, p), fmt.Sprintf("%s-%s%d-%d", name, tenant, p, n)
						b.appendAt(tenant, sub, id, at.Add(time.Duration(n)*time.Minute))
						live["identity:"+sub] = append(live["identity:"+sub], id)
						if tenant == "a" && name == "middle" {
							again["identity:"+sub] = append(again["identity:"+sub], id)
						}
					}
				}
			}
		}
		fill("first", day)
		fill("middle", day.Add(24*time.Hour))
		fill("last", day.Add(48*time.Hour))
		b.divided(3, fanout.StartBeginning, func(_ *fanout.Config, d *fanout.Deps) {
			d.Plugin = &alone{fake: b.plugin, t: t, busy: map[string]bool{}}
		})
		settled := func() bool {
			p, err := fanout.Plugins(context.Background(), b.store)
			return err == nil && p[0].Lag == 0
		}
		b.until("the past is delivered", settled)
		r := b.replay(fanout.Replay{Tenant: "a", Since: day.Add(24 * time.Hour), Before: day.Add(48 * time.Hour)})
		b.until("the replay has begun", func() bool { return b.replayed(r.ID).Counts.Total() > 0 })
		fill("now", store.Now())
		r = b.untilDone(r.ID)
		b.until("all live events", settled)
		if r.Counts != (fanout.ReplayCounts{Applied: people * each}) || r.Partitions != 3 {
			t.Errorf("the replay ended as %+v", r)
		}
		for name, c := range map[string]struct{ want, got map[string][]string }{
			"live": {live, b.plugin.byKey(false)}, "again": {again, b.plugin.byKey(true)},
		} {
			if len(c.got) != len(c.want) {
				t.Errorf("%s: %d keys, want %d", name, len(c.got), len(c.want))
			}
			for key, want := range c.want {
				if !slices.Equal(c.got[key], want) {
					t.Errorf("%s: %s got %v, want %v", name, key, c.got[key], want)
				}
			}
		}
	})
}

func TestLaw5_ADividedPluginGetsEachRowOfASnapshotOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		const tenants = 40
		ctx := context.Background()
		b.plugin.deliver = applyAll
		b.append("t0001", "old", "{}")
		r := manyRows(tenants)
		b.divided(3, fanout.StartSnapshot, fromSnapshot(r))
		count := func() (rows map[string]int, events map[string]int) {
			rows, events = map[string]int{}, map[string]int{}
			for _, id := range b.plugin.delivered() {
				if strings.HasPrefix(id, "snapshot:") {
					rows[id]++
				} else {
					events[id]++
				}
			}
			return rows, events
		}
		done := func(want int64) func() bool {
			return func() bool {
				list, err := fanout.Replays(ctx, b.store, "p", false, 0)
				return err == nil && list[0].State == fanout.ReplayDone && list[0].ID == want
			}
		}
		b.until("the snapshot is through", done(1))
		b.append("t0001", "new", "{}")
		b.until("the log goes on", func() bool { _, events := count(); return events["new"] == 1 })
		rows, events := count()
		if len(rows) != len(r) || events["old"] != 0 {
			t.Errorf("%d rows of %d, and %v", len(rows), len(r), events)
		}
		for id, n := range rows {
			if n != 1 {
				t.Errorf("%s came %d times", id, n)
			}
		}

		_, err := fanout.Move{Plugin: "p", To: fanout.StartSnapshot, Reset: true}.Do(ctx, b.store, b.journal)
		must(t, err)
		b.until("a second snapshot is through", done(2))
		rows, _ = count()
		for id, n := range rows {
			if n != 2 {
				t.Errorf("after a reset %s came %d times in all", id, n)
			}
		}
		_, err = fanout.Move{Plugin: "p", To: fanout.StartBeginning}.Do(ctx, b.store, b.journal)
		must(t, err)
		b.until("the whole log comes again", func() bool { _, events := count(); return events["old"] == 1 && events["new"] == 2 })
		b.until("all partitions stand at its end", func() bool {
			p, err := fanout.Plugins(ctx, b.store)
			return err == nil && p[0].Lag == 0 && p[0].State == "running"
		})
	})
}

func TestWhatADividedPluginNeverGotIsCountedInAllPartitions(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		ctx := context.Background()
		b.plugin.deliver = func(ev *pluginpb.Event, _ []byte) (*pluginpb.Verdict, []byte) {
			switch ev.GetTenantId() {
			case "t3":
				return verdict(pluginpb.Verdict_KIND_RETRY, "not now"), nil
			case "t4":
				return verdict(pluginpb.Verdict_KIND_REJECT, "never"), nil
			}
			return applied(), nil
		}
		b.divided(3, fanout.StartBeginning, func(_ *fanout.Config, d *fanout.Deps) {
			d.Backoff = func(int) time.Duration { return time.Hour }
		})
		round := func(name string) {
			for i := range 12 {
				b.append(fmt.Sprintf("t%d", i), fmt.Sprintf("%s%d", name, i), "{}")
			}
		}
		never := func(tenant string) fanout.Pending {
			p, err := fanout.Never(ctx, b.store, "p", tenant)
			must(t, err)
			p.Position, p.Types = 0, nil // which differ by what was flushed
			return p
		}
		round("e")
		b.until("it is known what the plugin gets", func() bool {
			_, err := fanout.Never(ctx, b.store, "p", "")
			return !errors.Is(err, fanout.ErrUndescribed)
		})
		b.until("all but one tenant is settled", func() bool {
			p := never("")
			return reflect.DeepEqual(p, fanout.Pending{Plugin: "p", Blocked: 1, Lanes: 1, DeadLetters: 1})
		})
		b.pause()
		round("f")
		round("g")
		for tenant, want := range map[string]fanout.Pending{
			"":   {Waiting: 24, Blocked: 1, Lanes: 1, DeadLetters: 1},
			"t1": {Waiting: 2}, "t2": {Waiting: 2}, "t3": {Waiting: 2, Blocked: 1, Lanes: 1}, "t4": {Waiting: 2, DeadLetters: 1}, "nobody": {},
		} {
			want.Plugin = "p"
			if got := never(tenant); !reflect.DeepEqual(got, want) {
				t.Errorf("of %q %+v, want %+v", tenant, got, want)
			}
		}
	})
}

// crashing is a plugin that was given up until its process is started anew.
type crashing struct {
	*fake
	up atomic.Bool
}

func (c *crashing) WaitReady(ctx context.Context) error {
	if c.up.Load() {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (c *crashing) Status() plugin.Status {
	if c.up.Load() {
		return c.fake.Status()
	}
	return plugin.Status{State: plugin.Quarantined, Reason: "it crashed too often"}
}

func TestResumingStartsAPluginThatIsInQuarantine(t *testing.T) {
	onBoth(t, func(t *testing.T, b *bundle) {
		b.plugin.deliver = applyAll
		p := &crashing{fake: b.plugin}
		b.append("t", "e", "{}")
		b.divided(2, fanout.StartBeginning, func(_ *fanout.Config, d *fanout.Deps) {
			d.Plugin, d.Restarts = p, &fanout.Restarts{Do: func(string) { p.up.Store(true) }}
		})
		b.until("it is in quarantine", func() bool {
			is := b.progress()
			return is.State == "quarantined" && is.Reason == "it crashed too often"
		})
		if n := len(b.plugin.delivered()); n != 0 {
			t.Fatalf("%d deliveries to what does not run", n)
		}
		must(t, fanout.Resume(context.Background(), b.store, "p"))
		b.until("it goes on", b.settled)
	})
}
