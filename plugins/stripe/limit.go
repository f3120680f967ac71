package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	testRate = 20 // requests a second; Stripe takes 25 of a sandbox
	liveRate = 80 // Stripe takes 100
	// inFlight is how many requests wait for an answer at once.
	inFlight = 15
	// searchRate is for searches, of which Stripe takes 20 a second.
	searchRate = 15
	// longestWait is how long a request stands in line. Whoever would have to
	// wait longer gives its place in the hub's batch away instead.
	longestWait = 3 * time.Second
)

// limiter keeps away from Stripe's limits: requests are spread evenly, with a
// burst of an eighth of a second's, and all of them stop for a while when Stripe
// says that there were too many.
type limiter struct {
	every time.Duration // between two requests
	burst time.Duration
	slots chan struct{}

	mu     sync.Mutex
	next   time.Time // when the next request may go, were there no burst
	closed time.Time // nothing goes before
}

func newLimiter(perSecond int) *limiter {
	every := time.Second / time.Duration(perSecond)
	return &limiter{every: every, burst: time.Second / 8, slots: make(chan struct{}, inFlight)}
}

// waitError says that a request has not been sent, and when to come again.
type waitError struct {
	after time.Duration
	why   string
}

func (e *waitError) Error() string { return e.why }

// take waits for a place. done has to be called when the answer is there.
func (l *limiter) take(ctx context.Context) (done func(), err error) {
	at, err := l.reserve()
	if err != nil {
		return nil, err
	}
	gaveUp := func() error {
		return &waitError{time.Second, "the rate of requests to Stripe is kept below its limit, and this one's turn has not come"}
	}
	if wait := time.Until(at); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, gaveUp()
		}
	}
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-ctx.Done():
		return nil, gaveUp()
	}
}

// reserve takes the next place in line and says when it is.
func (l *limiter) reserve() (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if wait := l.closed.Sub(now); wait > 0 {
		return time.Time{}, &waitError{wait + rand.N(l.burst), fmt.Sprintf("Stripe has asked to wait, for another %v", wait.Round(time.Millisecond))}
	}
	if l.next.Before(now.Add(-l.burst)) {
		l.next = now.Add(-l.burst)
	}
	at := l.next
	if wait := at.Sub(now); wait > longestWait {
		return time.Time{}, &waitError{wait, "too many requests to Stripe stand in line"}
	}
	l.next = l.next.Add(l.every)
	return at, nil
}

// pause lets nothing go for a while.
func (l *limiter) pause(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := time.Now().Add(d); until.After(l.closed) {
		l.closed = until
	}
}

const (
	shortestBackoff = 500 * time.Millisecond
	longestBackoff  = time.Minute
)

// backoff is how long to wait after so many refusals in a row, from 0: half a
// second, doubled each time, up to a minute, and up to a half less by chance.
func backoff(refusals int) time.Duration {
	d := longestBackoff
	if refusals < 7 {
		d = shortestBackoff << refusals
	}
	return d/2 + rand.N(d/2+1)
}
