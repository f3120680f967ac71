package fanout

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// LeaseTime is how long a lease lasts unless it is renewed, by the database's
	// clock.
	LeaseTime = 15 * time.Second
	// A holder stops this long before the end: clocks run at different speeds, and
	// a process takes a moment to be killed.
	leaseMargin = time.Second
	// No call starts with less of the lease left: the plugin could do little in
	// it, and its end would look like a failure.
	leastLease = 2 * time.Second
)

// Lease is the right to work on a partition. Its holder trusts it until a second
// before its end, on a clock of its own that nobody sets, counted from before the
// database was asked. It is safe for concurrent use.
type Lease struct {
	Plugin     string
	Partition  int
	Partitions int   // into how many the plugin is divided
	Epoch      int64 // grows with every holder

	least time.Duration
	lost  chan struct{}

	mu    sync.Mutex
	trust time.Time // zero: it does not end by itself
	timer *time.Timer
	ended bool
	taken bool // another hub may be at work
}

// newLease is a lease that was asked for at the given time; of 0 duration, it
// does not end by itself.
func newLease(plugin string, partition, partitions int, epoch int64, asked time.Time, length time.Duration) *Lease {
	l := &Lease{
		Plugin: plugin, Partition: partition, Partitions: partitions, Epoch: epoch,
		lost: make(chan struct{}), least: min(leastLease, length/8),
	}
	if length > 0 {
		l.trust = asked.Add(trusted(length))
		l.timer = time.AfterFunc(time.Until(l.trust), l.check)
	}
	return l
}

// trusted is how much of a lease its holder trusts.
func trusted(length time.Duration) time.Duration { return length - min(leaseMargin, length/15) }

// Lost is closed when the lease is over.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// extend notes that the lease was renewed, by a statement that was sent at the
// given time. One that is over stays over.
func (l *Lease) extend(asked time.Time, length time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if trust := asked.Add(trusted(length)); !l.ended && !l.trust.IsZero() && trust.After(l.trust) {
		l.trust = trust
	}
}

// check ends the lease if its time is up.
func (l *Lease) check() {
	l.mu.Lock()
	left := time.Until(l.trust)
	if left > 0 && !l.ended {
		l.timer.Reset(left)
	}
	l.mu.Unlock()
	if left <= 0 {
		l.end(true)
	}
}

// end makes the holder stop at once. taken: another hub may be at work already.
func (l *Lease) end(taken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended, l.taken = true, taken
	if l.timer != nil {
		l.timer.Stop()
	}
	close(l.lost)
}

// isTaken tells, of a lease that is over, whether another hub may be at work.
func (l *Lease) isTaken() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken
}

// held tells whether the lease is trusted now. A process that was frozen finds
// out here, before any timer fires.
func (l *Lease) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.ended && (l.trust.IsZero() || time.Until(l.trust) > 0)
}

// bound gives a call to the plugin its end: its own limit, and never beyond the
// lease. The plugin knows that end, too, so it stops even if this process is
// frozen. A limit longer than any lease is that of a person with a debugger:
// then the call ends when the lease is not renewed any more.
func (l *Lease) bound(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc, error) {
	l.mu.Lock()
	trust, ended := l.trust, l.ended
	l.mu.Unlock()
	if trust.IsZero() && !ended {
		ctx, cancel := context.WithTimeout(ctx, limit)
		return ctx, cancel, nil
	}
	left := time.Until(trust)
	if ended || left < l.least {
		return nil, nil, fmt.Errorf("the lease of partition %d is about to end", l.Partition)
	}
	if limit <= LeaseTime {
		ctx, cancel := context.WithTimeout(ctx, min(limit, left))
		return ctx, cancel, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	go func() {
		select {
		case <-l.lost:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel, nil
}
