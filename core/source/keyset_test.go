package source

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// fakeProvider answers fetches inside a bubble of fake time, where waiting for
// thirty seconds costs nothing and is exact. What only HTTP can show is tested
// over HTTP elsewhere.
type fakeProvider struct {
	mu      sync.Mutex
	ids     []string
	err     error
	takes   time.Duration
	began   []time.Time // fetches
	panicOn bool
}

func (p *fakeProvider) fetch(ctx context.Context) (map[string]*rsa.PublicKey, error) {
	p.mu.Lock()
	p.began = append(p.began, time.Now())
	ids, err, takes, panicOn := p.ids, p.err, p.takes, p.panicOn // as of now: later changes are missed
	p.mu.Unlock()
	if panicOn {
		panic("a strange key")
	}
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	keys := make(map[string]*rsa.PublicKey)
	for _, id := range ids {
		keys[id] = &rsa.PublicKey{N: big.NewInt(1)}
	}
	return keys, nil
}

func (p *fakeProvider) set(change func(*fakeProvider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *fakeProvider) fetches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.began)
}

func newFakeKeySet(p *fakeProvider) *keySet {
	counter := func() prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{Name: "x"}) }
	ks := &keySet{
		url: "https://provider.test", fetch: p.fetch, log: zerolog.Nop(),
		ok: counter(), failed: counter(), held: prometheus.NewGauge(prometheus.GaugeOpts{Name: "y"}),
	}
	ks.keys.Store(&map[string]*rsa.PublicKey{})
	ks.ctx, ks.stop = context.WithCancel(context.Background())
	return ks
}

func reasonOf(key *rsa.PublicKey, no *refusal) Reason {
	switch {
	case no != nil:
		return no.reason
	case key == nil:
		return "neither key nor refusal"
	}
	return ""
}

func TestAnUnknownKeyWaitsForARefreshThatBeganAfterIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{ids: []string{"old"}, takes: 2 * time.Second}
		ks := newFakeKeySet(p)
		defer ks.stop()
		go ks.get(t.Context(), "junk") // its refresh begins now and will bring the old set
		time.Sleep(time.Second)
		p.set(func(p *fakeProvider) { p.ids = []string{"old", "new"} })
		// This request must not be told "unknown" by the refresh under way.
		if got := reasonOf(ks.get(t.Context(), "new")); got != "" {
			t.Errorf("a key published before the request came: %s", got)
		}
		if n := p.fetches(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

func TestAKnownKeyCostsNoFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{ids: []string{"k"}}
		ks := newFakeKeySet(p)
		defer ks.stop()
		for range 100 {
			if got := reasonOf(ks.get(t.Context(), "k")); got != "" {
				t.Fatal(got)
			}
		}
		if n := p.fetches(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

func TestUnknownKeysShareOneRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{ids: []string{"k"}, takes: time.Second}
		ks := newFakeKeySet(p)
		defer ks.stop()
		var wg sync.WaitGroup
		for i := range maxWaiting {
			wg.Go(func() {
				if got := reasonOf(ks.get(t.Context(), fmt.Sprint("junk", i))); got != ReasonUnknownKey {
					t.Errorf("got %s", got)
				}
			})
		}
		wg.Wait()
		// Those who came before the first began share it; those a moment later
		// need a second one.
		if n := p.fetches(); n > 2 {
			t.Errorf("%d fetches for %d requests", n, maxWaiting)
		}
	})
}

func TestLaw10_AFloodOfJunkKeysIsRationed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{ids: []string{"k"}, takes: 10 * time.Millisecond}
		ks := newFakeKeySet(p)
		defer ks.stop()
		var wg sync.WaitGroup
		var unknown, busy, other atomic.Int64
		var most atomic.Int64
		for i := range 6000 { // 100 a second, for a minute
			wg.Go(func() {
				switch reasonOf(ks.get(t.Context(), fmt.Sprint("junk", i))) {
				case ReasonUnknownKey:
					unknown.Add(1)
				case ReasonTooBusy:
					busy.Add(1)
				default:
					other.Add(1)
				}
			})
			if i == 3000 {
				p.set(func(p *fakeProvider) { p.ids = append(p.ids, "new") })
				wg.Go(func() { // the flood must not keep out a genuine new key
					if got := reasonOf(ks.get(t.Context(), "new")); got != "" {
						t.Errorf("the genuine key met %s", got)
					}
				})
			}
			ks.mu.Lock()
			most.Store(max(most.Load(), int64(ks.waiting)))
			ks.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
		}
		wg.Wait()
		if n, limit := p.fetches(), fetchBurst+30+2; n > limit || n < 20 {
			t.Errorf("%d fetches within a minute, want up to %d", n, limit)
		}
		if other.Load() != 0 || unknown.Load() == 0 || most.Load() > maxWaiting {
			t.Errorf("%d unknown, %d busy, %d other, at most %d waiting", unknown.Load(), busy.Load(), other.Load(), most.Load())
		}
	})
}

func TestLaw10_NoMoreThanTheLimitWaitForKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{ids: []string{"k"}, takes: 4 * time.Second}
		ks := newFakeKeySet(p)
		defer ks.stop()
		var wg sync.WaitGroup
		for i := range maxWaiting {
			wg.Go(func() { ks.get(t.Context(), fmt.Sprint("junk", i)) })
		}
		synctest.Wait()
		start := time.Now()
		if got := reasonOf(ks.get(t.Context(), "one more")); got != ReasonTooBusy || time.Since(start) != 0 {
			t.Errorf("got %s after %v", got, time.Since(start))
		}
		wg.Wait()
		if ks.waiting != 0 {
			t.Errorf("%d still counted as waiting", ks.waiting)
		}
	})
}

func TestWaitingForAKeyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{takes: time.Hour}
		ks := newFakeKeySet(p)
		defer ks.stop()
		start := time.Now()
		if got := reasonOf(ks.get(t.Context(), "k")); got != ReasonKeySetDown || time.Since(start) != keyWait {
			t.Errorf("got %s after %v", got, time.Since(start))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start = time.Now()
		if got := reasonOf(ks.get(ctx, "k")); got != ReasonShuttingDown || time.Since(start) != time.Second {
			t.Errorf("canceled: got %s after %v", got, time.Since(start))
		}
		time.AfterFunc(time.Second, ks.stop)
		if got := reasonOf(ks.get(t.Context(), "k")); got != ReasonShuttingDown {
			t.Errorf("stopped: got %s", got)
		}
		if got := reasonOf(ks.get(t.Context(), "k")); got != ReasonShuttingDown {
			t.Errorf("after the stop: got %s", got)
		}
	})
}

func TestAProviderThatIsDownIsLeftAloneForGrowingTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{err: errors.New("down")}
		ks := newFakeKeySet(p)
		defer ks.stop()
		for range 12000 { // two minutes, a hundred requests a second
			key, no := ks.get(t.Context(), "k")
			if got := reasonOf(key, no); got != ReasonKeySetDown {
				t.Fatal(got)
			}
			if no.retryAfter <= 0 || no.retryAfter > maxBackoff {
				t.Fatalf("Retry-After of %v", no.retryAfter)
			}
			time.Sleep(10 * time.Millisecond)
		}
		want := []time.Duration{1, 2, 4, 8, 16, 30, 30}
		for i, w := range want[:len(p.began)-1] {
			gap := p.began[i+1].Sub(p.began[i])
			if gap < w*time.Second || gap > w*time.Second+20*time.Millisecond {
				t.Errorf("pause %d was %v, want %ds", i, gap, w)
			}
		}
		if len(p.began) < 7 {
			t.Errorf("only %d fetches", len(p.began))
		}
		// It comes back, and so does the key.
		p.set(func(p *fakeProvider) { p.err, p.ids = nil, []string{"k"} })
		time.Sleep(maxBackoff)
		if got := reasonOf(ks.get(t.Context(), "k")); got != "" {
			t.Errorf("after the outage: %s", got)
		}
		if ks.failures != 0 || !ks.retryAt.IsZero() {
			t.Error("a success did not end the backing off")
		}
	})
}

func TestHeldKeysOutliveAnOutageButNotTheirRemoval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{ids: []string{"a", "b"}}
		ks := newFakeKeySet(p)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { ks.run(ctx) })
		synctest.Wait()
		p.set(func(p *fakeProvider) { p.err = errors.New("down") })
		time.Sleep(48 * time.Hour)
		if got := reasonOf(ks.get(t.Context(), "a")); got != "" {
			t.Errorf("during the outage: %s", got)
		}
		p.set(func(p *fakeProvider) { p.err, p.ids = nil, []string{"b"} })
		time.Sleep(time.Minute)
		if got := reasonOf(ks.get(t.Context(), "a")); got != ReasonUnknownKey {
			t.Errorf("a removed key: %q", got)
		}
		if got := reasonOf(ks.get(t.Context(), "b")); got != "" {
			t.Errorf("the key that stayed: %s", got)
		}
		cancel()
		wg.Wait()
	})
}

func TestTheSetIsFetchedAtStartAndHourly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{ids: []string{"a"}}
		ks := newFakeKeySet(p)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { ks.run(ctx) })
		synctest.Wait()
		if n := p.fetches(); n != 1 {
			t.Errorf("%d fetches at start", n)
		}
		time.Sleep(10*time.Hour + time.Minute)
		if n := p.fetches(); n != 11 {
			t.Errorf("%d fetches after ten hours, want 11", n)
		}
		cancel()
		wg.Wait()
		time.Sleep(10 * time.Hour)
		if n := p.fetches(); n != 11 {
			t.Errorf("%d fetches after the end", n)
		}
	})
}

func TestAPanicWhileFetchingIsAFailedFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{panicOn: true}
		ks := newFakeKeySet(p)
		defer ks.stop()
		if got := reasonOf(ks.get(t.Context(), "k")); got != ReasonKeySetDown {
			t.Errorf("got %s", got)
		}
	})
}
