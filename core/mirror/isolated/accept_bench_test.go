package isolated_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/rs/zerolog"
)

// BenchmarkAccept tells how long an event that comes at a steady pace waits for
// its commit, with tenants' databases fed beside it and without.
func BenchmarkAccept(b *testing.B) {
	for _, beside := range []bool{false, true} {
		b.Run(fmt.Sprintf("fed-beside=%v", beside), func(b *testing.B) {
			ctx, cancel := context.WithCancel(context.Background())
			hub := storetest.Open(b, storetest.SQLite(b))
			j := journal.New(hub, mirror.New(hub, mirror.Options{Log: zerolog.Nop()}), journal.Options{Log: zerolog.Nop()})
			d, err := isolated.New(isolated.Config{URL: "sqlite://" + filepath.Join(b.TempDir(), "{tenant_id}.db")},
				isolated.Deps{Store: hub, HubURL: "sqlite://hub.db", Journal: &reader{Journal: j}, Log: zerolog.Nop()})
			if err != nil {
				b.Fatal(err)
			}
			var running sync.WaitGroup
			running.Go(func() { j.Run(ctx) })
			if beside {
				running.Go(func() { d.Run(ctx) })
			}
			w := &world{t: b}
			var waited []time.Duration
			tick := time.NewTicker(5 * time.Millisecond)
			for b.Loop() {
				<-tick.C
				ev := w.member(fmt.Sprintf("t%d", w.next%20), fmt.Sprintf("p%d", w.next%400), 0)
				begin := time.Now()
				if _, err := j.Append(ctx, ev); err != nil {
					b.Fatal(err)
				}
				waited = append(waited, time.Since(begin))
			}
			slices.Sort(waited)
			b.ReportMetric(float64(waited[len(waited)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(waited[len(waited)*99/100].Microseconds()), "p99-µs")
			cancel()
			running.Wait()
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
