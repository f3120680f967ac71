package fanout

import (
	"math/rand/v2"
	"time"
)

const (
	retryFirst = time.Second
	retryMax   = time.Hour
	// throttleMin keeps a connector that is told to come back "now" from
	// spinning, throttleMax bounds what the outside world may ask for.
	throttleMin = 100 * time.Millisecond
	throttleMax = 24 * time.Hour
)

// tally is what the policy remembers of an event that fails.
type tally struct {
	attempts int // failed ones; throttled ones do not count
	// spent is the part of retry_for that the event has used up: the time that
	// it waited because it had failed, and no other. Waits that the outside
	// asked for, an open breaker, a plugin or a hub that was not running, and
	// whatever an operator cut short use up nothing.
	spent    time.Duration
	failedAt time.Time // when the wait began that counts; zero: it does not count
	nextAt   time.Time // when the event is tried again
}

// policy decides when a failing event is tried again, and when no more.
type policy struct {
	retryFor time.Duration
	backoff  func(attempts int) time.Duration
}

// span is a stretch of time; one without an end lasts.
type span struct{ from, to time.Time }

// failed takes a failed attempt into account. dead tells that the event has had
// its time. still is when the clock stood still.
func (p policy) failed(t tally, now time.Time, still span) (_ tally, dead bool) {
	t.spent += t.waited(now, still)
	t.attempts++
	t.failedAt, t.nextAt = now, now.Add(p.backoff(t.attempts))
	return t, t.attempts > 1 && t.spent >= p.retryFor
}

// throttled takes into account that the outside asked for a pause.
func (p policy) throttled(t tally, now time.Time, asked time.Duration, still span) tally {
	t.spent += t.waited(now, still)
	t.failedAt, t.nextAt = time.Time{}, now.Add(throttle(asked))
	return t
}

// waited is how much of the time since the last failure counts: no more than
// the wait that it led to.
func (t tally) waited(now time.Time, still span) time.Duration {
	if t.failedAt.IsZero() {
		return 0
	}
	end := now
	if t.nextAt.Before(end) {
		end = t.nextAt
	}
	return max(end.Sub(t.failedAt)-still.overlap(t.failedAt, end), 0)
}

// overlap is how much of the time between two instants the span covers.
func (s span) overlap(from, to time.Time) time.Duration {
	if s.from.IsZero() {
		return 0
	}
	if s.from.After(from) {
		from = s.from
	}
	if !s.to.IsZero() && s.to.Before(to) {
		to = s.to
	}
	return max(to.Sub(from), 0)
}

// backoff returns how long to wait after the given number of failed attempts
// (1 after the first): exponential from 1 s to 1 h with full jitter, so that
// keys that failed together do not come back together. random yields values in
// [0, 1).
func backoff(attempts int, random func() float64) time.Duration {
	ceiling := retryMax
	// 2^12 s is over an hour; a larger shift would overflow one day.
	if attempts <= 12 {
		ceiling = min(retryFirst<<max(attempts-1, 0), retryMax)
	}
	return time.Duration(random() * float64(ceiling))
}

// throttle bounds the wait that the outside world asked for.
func throttle(asked time.Duration) time.Duration {
	return min(max(asked, throttleMin), throttleMax)
}

func jitter() float64 { return rand.Float64() }
