package source

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

const (
	refreshEvery = time.Hour
	keyWait      = 10 * time.Second // how long a request may wait for a key
	maxWaiting   = 256              // requests that wait for keys at a time
	// Fetches that unknown key ids may cause: so many at once, then one per
	// interval, so that junk cannot make the hub hammer the provider.
	fetchBurst    = 10
	fetchInterval = 2 * time.Second
	// How long the provider is left alone after a failed fetch; doubles.
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// keySet holds a provider's public keys.
//
// Held keys are served without any lock, whatever becomes of the provider.
// For an unknown id there are only definitive answers: a request waits for one
// refresh that began after the request came, and only if the id is missing
// there too it is unknown. Such a request shares the refresh with all others
// that wait, refreshes are rationed, the number of those who wait is bounded,
// and so is their time; what cannot be answered for one of these reasons is the
// hub's trouble, not the sender's.
type keySet struct {
	url    string
	fetch  func(context.Context) (map[string]*rsa.PublicKey, error)
	log    zerolog.Logger
	ok     prometheus.Counter
	failed prometheus.Counter
	held   prometheus.Gauge

	ctx  context.Context // ends the fetches when the source stops
	stop context.CancelFunc

	keys atomic.Pointer[map[string]*rsa.PublicKey]

	mu          sync.Mutex
	flight      *flight // the refresh that waits for its turn or runs; nil if none
	begun       uint64  // refreshes begun so far; the number of the last one
	succeeded   uint64  // number of the last one that brought a set
	waiting     int
	tokens      float64
	tokensAt    time.Time
	failures    int       // in a row
	retryAt     time.Time // no fetch before; zero when the last one succeeded
	refreshedAt time.Time
	lastErr     error
}

// flight is one refresh, shared by all who wait for it. err may be read once
// done is closed.
type flight struct {
	done chan struct{}
	err  error
}

// get returns the key of an id. The refusal is ReasonUnknownKey if the provider
// does not know the id, and a 503 if that could not be found out.
func (ks *keySet) get(ctx context.Context, kid string) (*rsa.PublicKey, *refusal) {
	if key := (*ks.keys.Load())[kid]; key != nil {
		return key, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, keyWait, errWaitedLong)
	defer cancel()
	ks.mu.Lock()
	defer ks.mu.Unlock()
	// What began up to now may miss a key that was published a moment ago.
	arrived := ks.begun
	for {
		if key := (*ks.keys.Load())[kid]; key != nil {
			return key, nil
		}
		if ks.succeeded > arrived {
			return nil, unauthorized(ReasonUnknownKey, "the key id is not in the provider's key set")
		}
		if ks.ctx.Err() != nil {
			return nil, later(ReasonShuttingDown, retrySoon, "the hub is shutting down")
		}
		if wait := time.Until(ks.retryAt); wait > 0 {
			return nil, ks.unavailable(wait)
		}
		if ks.waiting >= maxWaiting {
			return nil, later(ReasonTooBusy, fetchInterval, "too many requests with unknown key ids are waiting for the provider's key set")
		}
		f := ks.join()
		ks.waiting++
		ks.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
		}
		ks.mu.Lock()
		ks.waiting--
		select {
		case <-f.done:
			if f.err != nil && ks.ctx.Err() == nil {
				return nil, ks.unavailable(time.Until(ks.retryAt))
			}
		default:
			if errors.Is(context.Cause(ctx), errWaitedLong) {
				return nil, ks.unavailable(fetchInterval)
			}
			return nil, later(ReasonShuttingDown, retrySoon, "the request ended while it waited for the provider's key set")
		}
	}
}

var errWaitedLong = errors.New("waited too long for the key set")

func (ks *keySet) unavailable(after time.Duration) *refusal {
	return later(ReasonKeySetDown, after, "the key id is not known here and the provider's key set cannot be read at the moment")
}

// join returns the refresh under way, or starts one. ks.mu is held.
func (ks *keySet) join() *flight {
	if ks.flight == nil {
		ks.flight = &flight{done: make(chan struct{})}
		go ks.refresh(ks.flight)
	}
	return ks.flight
}

// refresh waits for its turn, fetches once and tells all who wait.
func (ks *keySet) refresh(f *flight) {
	ks.mu.Lock()
	wait := ks.takeToken(time.Now())
	ks.mu.Unlock()
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ks.ctx.Done():
		}
	}
	ks.mu.Lock()
	ks.begun++
	number := ks.begun
	ks.mu.Unlock()

	keys, err := ks.tryFetch()

	ks.mu.Lock()
	defer ks.mu.Unlock()
	f.err = err
	if err != nil {
		ks.failures++
		backoff := min(minBackoff<<min(ks.failures-1, 10), maxBackoff)
		ks.retryAt = time.Now().Add(backoff)
		ks.lastErr = err
		ks.failed.Inc()
		if ks.ctx.Err() == nil {
			ks.log.Warn().Err(err).Str("url", ks.url).Int("keys_held", len(*ks.keys.Load())).Stringer("retry_in", backoff.Round(time.Millisecond)).
				Msg("the key set could not be refreshed; keys held keep working, unknown key ids are answered with 503")
		}
	} else {
		before := *ks.keys.Swap(&keys)
		ks.succeeded, ks.failures, ks.retryAt = number, 0, time.Time{}
		ks.refreshedAt, ks.lastErr = time.Now(), nil
		ks.ok.Inc()
		ks.held.Set(float64(len(keys)))
		if !sameKeys(before, keys) {
			ks.log.Info().Str("url", ks.url).Strs("key_ids", someIDs(keys)).Int("keys", len(keys)).Msg("key set changed")
		}
	}
	ks.flight = nil
	close(f.done)
}

// tryFetch fetches. It outlives a panic in the parsing of a strange key: here,
// in a goroutine of its own, that would end the whole hub.
func (ks *keySet) tryFetch() (keys map[string]*rsa.PublicKey, err error) {
	defer func() {
		if v := recover(); v != nil {
			keys, err = nil, fmt.Errorf("parsing the key set: a %T panic", v)
		}
	}()
	return ks.fetch(ks.ctx)
}

// takeToken takes a token and returns how long to wait for it. Only one refresh
// takes tokens at a time, so the debt is never more than one. ks.mu is held.
func (ks *keySet) takeToken(now time.Time) time.Duration {
	if ks.tokensAt.IsZero() {
		ks.tokens, ks.tokensAt = fetchBurst, now
	}
	ks.tokens = min(fetchBurst, ks.tokens+now.Sub(ks.tokensAt).Seconds()/fetchInterval.Seconds())
	ks.tokensAt = now
	ks.tokens--
	return time.Duration(max(0, -ks.tokens) * float64(fetchInterval))
}

// run fetches the set at start and then every hour, sooner after a failure,
// until ctx ends. Then nothing is fetched any more.
func (ks *keySet) run(ctx context.Context) {
	defer ks.stop()
	for {
		ks.mu.Lock()
		wait := time.Until(ks.retryAt)
		if wait <= 0 {
			f := ks.join()
			ks.mu.Unlock()
			select {
			case <-f.done:
			case <-ctx.Done():
				return
			}
			ks.mu.Lock()
			wait = refreshEvery
			if f.err != nil {
				wait = time.Until(ks.retryAt)
			}
		}
		ks.mu.Unlock()
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

func sameKeys(a, b map[string]*rsa.PublicKey) bool {
	return maps.EqualFunc(a, b, func(x, y *rsa.PublicKey) bool { return x.Equal(y) })
}

// someIDs lists key ids for a log line: the provider's, sorted, not too many.
func someIDs(keys map[string]*rsa.PublicKey) []string {
	ids := slices.Sorted(maps.Keys(keys))
	return ids[:min(len(ids), 16)]
}
