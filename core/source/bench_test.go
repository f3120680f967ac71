package source_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/source"
)

// forgetful is a journal that takes no time.
type forgetful struct{ n atomic.Int64 }

func (j *forgetful) Append(context.Context, *event.Event) (journal.Receipt, error) {
	return journal.Receipt{Outcome: journal.Accepted, Position: j.n.Add(1)}, nil
}

// BenchmarkVerifyOnly is what the hub could accept if durability were free:
// signed requests over 64 connections into a journal that does nothing. The
// client shares the machine.
func BenchmarkVerifyOnly(b *testing.B) {
	p := newProvider(b, jwkOf("k1", signingKey()))
	s := setup(b, p, func(_ *source.Config, d *source.Deps, _ *http.Server) {
		d.Journal, d.Log = &forgetful{}, zerolog.Nop()
		d.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	})
	stamp := strconv.Itoa(1_800_000_000)
	signature := sign(signingKey(), stamp+"."+webhookBody)
	const connections = 64
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				r, err := http.NewRequest(http.MethodPost, s.url, bytes.NewReader([]byte(webhookBody)))
				if err != nil {
					b.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("X-AuthVital-Signature", signature)
				r.Header.Set("X-AuthVital-Key-Id", "k1")
				r.Header.Set("X-AuthVital-Timestamp", stamp)
				resp, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Errorf("status %d", resp.StatusCode)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
