package main

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/ledger"
)

// BenchmarkRecord is an event's way to where it is acknowledged: sealed, and its
// entry durable.
func BenchmarkRecord(b *testing.B) {
	for name, inFlight := range map[string]int{"one by one": 1, "64 in flight": 64} {
		b.Run(name, func(b *testing.B) {
			l, err := ledger.Open(b.Context(), filepath.Join(b.TempDir(), "trail"), ledger.Options{})
			if err != nil {
				b.Fatal(err)
			}
			for n := range 50 { // the people get their keys
				if _, err := l.Record(b.Context(), happening(1_000_000_000+n), 0); err != nil {
					b.Fatal(err)
				}
			}
			var next atomic.Int64
			var mu sync.Mutex
			var took []time.Duration
			var workers sync.WaitGroup
			b.ResetTimer()
			for range inFlight {
				workers.Go(func() {
					var mine []time.Duration
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						began := time.Now()
						ev := happening(int(n))
						ev.Key = ev.ID // streams do not wait for each other
						if _, err := l.Record(b.Context(), ev, 0); err != nil {
							b.Error(err)
							return
						}
						mine = append(mine, time.Since(began))
					}
					mu.Lock()
					defer mu.Unlock()
					took = append(took, mine...)
				})
			}
			workers.Wait()
			b.StopTimer()
			slices.Sort(took)
			if len(took) > 0 {
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms/p99")
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			if err := l.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkOpen proves a trail of 100,000 entries and takes up what it knows.
func BenchmarkOpen(b *testing.B) {
	const size = 100_000
	dir := filepath.Join(b.TempDir(), "trail")
	l, err := ledger.Open(b.Context(), dir, ledger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range 256 {
		workers.Go(func() {
			for n := next.Add(1); n <= size; n = next.Add(1) {
				ev := happening(int(n))
				ev.Key = ev.ID
				if _, err := l.Record(b.Context(), ev, 0); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	if err := l.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := ledger.Open(b.Context(), dir, ledger.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := l.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
