package retention_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/journal/retention"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
)

// old makes a journal of n events by SQL alone, with ids and keys all over their
// indexes, that were received a day ago.
func old(b *testing.B, url string, n int64) (*store.Store, *journal.Journal) {
	b.Helper()
	st := storetest.Open(b, url)
	ctx := context.Background()
	id, number, series := `lower(hex(randomblob(13)))`, `random()`, `WITH RECURSIVE s(p) AS (SELECT ? UNION ALL SELECT p + 1 FROM s WHERE p < ?) SELECT p FROM s`
	if st.Dialect() == store.Postgres {
		id, number = `md5(random()::text || p)`, `(random() * 9e18)::bigint`
		series = `SELECT p FROM generate_series(?::bigint, ?::bigint) AS p`
	}
	received := store.Now().Add(-24 * time.Hour).UnixMicro()
	const part = 50_000
	for from := int64(1); from <= n; from += part {
		err := st.InTx(ctx, func(ctx context.Context) error {
			db := st.SQL(ctx)
			until := min(from+part-1, n)
			if _, err := db.Exec(ctx, fmt.Sprintf(`INSERT INTO avhub_events (position, source, channel, event_id, type, received_at, tenant_lane, subject_lane, body)
 SELECT p, 's', 'webhook', 'e' || p, 'test.happened', %d, %s, %s, CAST('%0300d' AS %s) FROM (%s) AS q`,
				received, number, number, 1, map[store.Dialect]string{store.SQLite: "BLOB", store.Postgres: "bytea"}[st.Dialect()], series), from, until); err != nil {
				return err
			}
			_, err := db.Exec(ctx, fmt.Sprintf(`INSERT INTO avhub_seen_events (id, position, body_hash, seen_at) SELECT %s || '/s', p, CAST('%032d' AS %s), %d FROM (%s) AS q`,
				id, 1, map[store.Dialect]string{store.SQLite: "BLOB", store.Postgres: "bytea"}[st.Dialect()], received, series), from, until)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if _, err := st.SQL(ctx).Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES ('journal', ?)`, n); err != nil {
		b.Fatal(err)
	}
	if st.Dialect() == store.Postgres {
		if _, err := st.SQL(ctx).Exec(ctx, `ANALYZE`); err != nil {
			b.Fatal(err)
		}
	}
	j := journal.New(st, &projector{}, journal.Options{})
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); j.Run(running) }()
	b.Cleanup(func() { stop(); <-done })
	return st, j
}

// senders append for a while and return how long each append took.
func senders(b *testing.B, j *journal.Journal, n int, d time.Duration) (took []time.Duration) {
	var mu sync.Mutex
	var working sync.WaitGroup
	end := time.Now().Add(d)
	for range n {
		working.Go(func() {
			var mine []time.Duration
			for time.Now().Before(end) {
				body := fmt.Appendf(nil, `{"id":%q,"type":"test.happened","timestamp":"2026-01-02T03:04:05.678Z","tenant_id":%q,"application_id":null,"data":{"note":"%0200d"}}`, rand.Text(), rand.Text(), 1)
				ev, err := event.DecodeWebhook(body)
				if err != nil {
					b.Error(err)
					return
				}
				ev.Source, ev.ReceivedAt, ev.Evidence = "s", store.Now(), event.Evidence{Body: body}
				begin := time.Now()
				if _, err := j.Append(context.Background(), ev); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(begin))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	working.Wait()
	slices.Sort(took)
	return took
}

func quantile(sorted []time.Duration, q float64) float64 {
	return float64(sorted[int(float64(len(sorted)-1)*q)].Microseconds()) / 1000
}

// What appends notice of pruning: the same senders without and with it, in turns.
func BenchmarkAppendBesidePruning(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": pgtest.URL} {
		b.Run(name, func(b *testing.B) {
			st, j := old(b, url(b), 300_000)
			r := retention.New(retention.Config{Retain: time.Hour, DedupeFor: time.Hour}, retention.Deps{Store: st, Journal: j})
			var alone, beside []time.Duration
			var pruned atomic.Int64
			var pruning time.Duration
			for range b.N {
				for range 3 {
					alone = append(alone, senders(b, j, 8, time.Second)...)
					ctx, stop := context.WithCancel(context.Background())
					done := make(chan struct{})
					begin := time.Now()
					go func() {
						defer close(done)
						got, _ := r.Prune(ctx, nil) // ends with ctx
						pruned.Add(got.Events)
					}()
					beside = append(beside, senders(b, j, 8, time.Second)...)
					stop()
					<-done
					pruning += time.Since(begin)
				}
			}
			slices.Sort(alone)
			slices.Sort(beside)
			b.ReportMetric(quantile(alone, 0.5), "p50-alone-ms")
			b.ReportMetric(quantile(beside, 0.5), "p50-beside-ms")
			b.ReportMetric(quantile(alone, 0.99), "p99-alone-ms")
			b.ReportMetric(quantile(beside, 0.99), "p99-beside-ms")
			b.ReportMetric(float64(len(beside))/float64(len(alone)), "rate-ratio")
			b.ReportMetric(float64(pruned.Load())/pruning.Seconds(), "pruned/s")
		})
	}
}

// How fast a large journal takes events, beside a small one, in turns.
// AVHUB_BENCH_EVENTS is the size of the large one.
func BenchmarkAppendToALargeJournal(b *testing.B) {
	large := int64(1_000_000)
	if text := os.Getenv("AVHUB_BENCH_EVENTS"); text != "" {
		var err error
		if large, err = strconv.ParseInt(text, 10, 64); err != nil {
			b.Fatal(err)
		}
	}
	for name, url := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": pgtest.URL} {
		b.Run(name, func(b *testing.B) {
			sizes := []int64{10_000, large, 10_000}
			var journals []*journal.Journal
			for _, n := range sizes {
				_, j := old(b, url(b), n)
				journals = append(journals, j)
				senders(b, j, 64, time.Second)
			}
			rates := make([]int, len(sizes))
			for range b.N {
				for range 3 {
					for i, j := range journals {
						rates[i] += len(senders(b, j, 64, 2*time.Second))
					}
				}
			}
			b.ReportMetric(float64(rates[0])/float64(b.N)/6, "small/s")
			b.ReportMetric(float64(rates[1])/float64(b.N)/6, "large/s")
			b.ReportMetric(float64(rates[1])/float64(rates[0]), "ratio")
			b.ReportMetric(float64(rates[2])/float64(rates[0]), "ratio-of-equals")
		})
	}
}
