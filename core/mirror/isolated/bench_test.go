package isolated_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/rs/zerolog"
)

// BenchmarkFeed tells how long it takes to bring tenants' databases, which do
// not exist yet, up to date with a journal, and to follow it then.
func BenchmarkFeed(b *testing.B) {
	const events = 20000
	for _, size := range [][2]int{{1, 32}, {100, 32}, {100, 128}, {1000, 32}, {1000, 1000}} {
		tenants, open := size[0], size[1]
		b.Run(fmt.Sprintf("tenants=%d,max_open=%d", tenants, open), func(b *testing.B) {
			for range b.N {
				feed(b, tenants, open, events)
			}
		})
	}
}

func feed(b *testing.B, tenants, open, events int) {
	b.StopTimer()
	ctx, cancel := context.WithCancel(context.Background())
	hub := storetest.Open(b, storetest.SQLite(b))
	j := journal.New(hub, mirror.New(hub, mirror.Options{Log: zerolog.Nop()}), journal.Options{Log: zerolog.Nop()})
	var journaling sync.WaitGroup
	journaling.Go(func() { j.Run(ctx) })
	d, err := isolated.New(isolated.Config{URL: "sqlite://" + filepath.Join(b.TempDir(), "{tenant_id}.db"), MaxOpen: open},
		isolated.Deps{Store: hub, HubURL: "sqlite://hub.db", Journal: &reader{Journal: j}, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	w := &world{t: b}
	accept := func(n int) {
		all := make(chan *event.Event, 256)
		var senders sync.WaitGroup
		for range 64 {
			senders.Go(func() {
				for ev := range all {
					if _, err := j.Append(ctx, ev); err != nil {
						b.Error(err)
					}
				}
			})
		}
		for i := range n {
			tenant := fmt.Sprintf("t%d", i%tenants)
			sub := fmt.Sprintf("p%d_%d", i%tenants, i/tenants%200)
			all <- w.member(tenant, sub, i)
		}
		close(all)
		senders.Wait()
	}
	// Wall time says little on a busy machine, processor time does.
	phase := func(name string, do func()) {
		begin, used := time.Now(), processor(b)
		do()
		b.ReportMetric(float64(events)/time.Since(begin).Seconds(), name+"-events/s")
		b.ReportMetric(float64((processor(b)-used).Microseconds())/float64(events), name+"-cpu-µs/event")
	}
	phase("accepted-alone", func() { accept(events) })
	before := resident(b)
	var running sync.WaitGroup
	b.StartTimer()
	running.Go(func() { d.Run(ctx) })
	phase("made", func() { caughtUp(b, j, hub) })
	b.StopTimer()
	b.ReportMetric(resident(b)-before, "more-MiB")
	b.StartTimer()
	phase("followed", func() {
		phase("accepted-beside", func() { accept(events) })
		caughtUp(b, j, hub)
	})
	b.StopTimer()
	cancel()
	running.Wait()
	journaling.Wait()
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
}

// processor is the time that this process has had.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// resident is the memory of the process in MiB: SQLite's own is not on Go's heap.
func resident(b *testing.B) float64 {
	b.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0 // no such figure here
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * float64(os.Getpagesize()) / (1 << 20)
}

// caughtUp waits until the dispatcher is at the journal's end and nobody behind.
func caughtUp(b *testing.B, j *journal.Journal, hub *store.Store) {
	b.Helper()
	for ; ; time.Sleep(2 * time.Millisecond) {
		last, err := j.Last(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		at, err := hub.Read().Counter.Get(context.Background(), "tenants_dispatch")
		if err != nil || at.Value < last {
			continue
		}
		list, err := isolated.List(context.Background(), hub, true, "", 1)
		if err != nil {
			b.Fatal(err)
		}
		if len(list) == 0 {
			return
		}
	}
}

func (w *world) member(tenant, sub string, i int) *event.Event {
	w.next++
	body := fmt.Sprintf(`{"id":"e%d_%d","type":"member.role_changed","timestamp":%q,"tenant_id":%q,"application_id":"a1",`+
		`"data":{"membership_id":"m_%s","sub":%q,"email":"%s@fjord.example","tenant_roles":["r%d"]}}`,
		w.next, i, start.Add(time.Duration(w.next)*time.Millisecond).Format("2006-01-02T15:04:05.000Z"), tenant, sub, sub, sub, i%7)
	ev, err := event.DecodeWebhook([]byte(body))
	if err != nil {
		w.t.Fatal(err)
	}
	ev.Source, ev.Channel, ev.ReceivedAt, ev.Evidence.Body = "authvital", event.ChannelWebhook, start, []byte(body)
	return ev
}
