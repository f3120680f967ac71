package source_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/source"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
)

// eventBody is a webhook's body of about size bytes.
func eventBody(id string, size int) string {
	return fmt.Sprintf(`{"id":%q,"type":"subject.created","timestamp":"2026-03-01T10:00:00.123Z","tenant_id":"ten_1","application_id":"app_1","data":{"sub":"usr_1","note":%q}}`,
		id, strings.Repeat("x", size))
}

// bodyBytes reads the metric of a Bodies.
func bodyBytes(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetGauge().GetValue()
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestLaw10_LargeBodiesShareABoundedMemory(t *testing.T) {
	t.Parallel()
	const largest = 256 << 10
	reg := prometheus.NewRegistry()
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())), func(c *source.Config, d *source.Deps, _ *http.Server) {
		c.MaxBody = largest
		d.Bodies = source.NewBodies(2*largest, largest, reg)
	})
	// Three senders of large bodies that stop in the middle: two fit.
	large := strings.Repeat(" ", largest-1000)
	var refused int
	var stalled []io.Closer
	for range 3 {
		conn := dial(t, b)
		head(t, conn, "Content-Length: "+strconv.Itoa(largest))
		before := bodyBytes(t, reg)
		sent := make(chan error, 1)
		go func() { _, err := io.WriteString(conn, large); sent <- err }()
		if before < largest {
			until(t, "the body's memory is taken", func() bool { return bodyBytes(t, reg) > before+largest/2 })
			stalled = append(stalled, conn)
			continue
		}
		answerOn(t, conn).want(t, 503, source.ReasonTooBusy)
		refused++
		_ = conn.Close()
		<-sent // however it went
	}
	if refused != 1 {
		t.Errorf("%d of three were refused", refused)
	}
	// Everybody else goes on meanwhile.
	if a := send(t, webhook(t, b.url, signingKey(), "k1", eventBody("usual", 3000))); a.code != 200 {
		t.Errorf("a usual event beside them: %+v", a)
	}
	for _, conn := range stalled {
		_ = conn.Close()
	}
	until(t, "the memory is given back", func() bool { return bodyBytes(t, reg) == 0 })
	if a := send(t, webhook(t, b.url, signingKey(), "k1", eventBody("large", 200<<10))); a.code != 200 {
		t.Errorf("a large event afterwards: %+v", a)
	}
	until(t, "the memory is given back", func() bool { return bodyBytes(t, reg) == 0 })
}

type noMirror struct{}

func (noMirror) Apply(context.Context, []*event.Event) error { return nil }

// More senders than fit meet a database that stands still for a while. Those beyond
// the brim are asked to come back, and nobody is lost, and nothing grows. It is not
// parallel to other tests, because it counts goroutines.
func TestLaw10_AtTheBrimSendersAreAskedToComeBack(t *testing.T) {
	const senders, queue = 200, 50
	url := storetest.SQLite(t)
	st := storetest.Open(t, url)
	j := journal.New(st, noMirror{}, journal.Options{QueueEvents: queue})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { j.Run(ctx) })
	defer running.Wait()
	defer stop()
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())), func(_ *source.Config, d *source.Deps, _ *http.Server) { d.Journal = j })
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	post := func(id string) (int, error) {
		r := webhook(t, b.url, signingKey(), "k1", eventBody(id, 200))
		resp, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return 0, err
		}
		if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
			return 0, fmt.Errorf("503 without Retry-After")
		}
		return resp.StatusCode, nil
	}
	if code, err := post("first"); err != nil || code != 200 {
		t.Fatalf("the first: %d %v", code, err)
	}
	before := runtime.NumGoroutine()

	// Somebody else holds the database.
	other, err := store.Open(ctx, url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	held, release := make(chan struct{}), make(chan struct{})
	var holding sync.WaitGroup
	holding.Go(func() {
		err := other.InTx(ctx, func(context.Context) error {
			close(held)
			<-release
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-held
	var busy, accepted atomic.Int64
	var most atomic.Int64
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			id := rand.Text()
			for {
				code, err := post(id)
				switch {
				case err != nil:
					t.Error(err)
					return
				case code == http.StatusOK:
					accepted.Add(1)
					return
				case code != http.StatusServiceUnavailable:
					t.Errorf("status %d", code)
					return
				}
				busy.Add(1)
				most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
			}
		})
	}
	until(t, "senders are turned away", func() bool { return busy.Load() > 2*senders })
	close(release)
	holding.Wait()
	sending.Wait()
	if accepted.Load() != senders {
		t.Errorf("%d of %d came in", accepted.Load(), senders)
	}
	if last, err := j.Last(context.Background()); err != nil || last != senders+1 {
		t.Errorf("the journal holds %d: %v", last, err)
	}
	// A connection has a goroutine here and up to three at the client; a request in
	// the handler none of its own.
	if limit := int64(before + 6*senders + 50); most.Load() > limit {
		t.Errorf("%d goroutines for %d senders, %d before", most.Load(), senders, before)
	}
	client.CloseIdleConnections()
	until(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before+5 })
}
