package fanout

import (
	"fmt"
	"time"
)

const (
	// The breaker opens when at least breakerLeast tenants failed since anything
	// last worked, and they are more than half of those that were attempted last,
	// within breakerWindow. An event that failed before and does again is no
	// evidence.
	breakerTenants = 64
	breakerLeast   = 5
	breakerWindow  = retryMax
	// An open breaker lets one event probe, first after probeFirst, then with
	// pauses that double up to probeMax.
	probeFirst = time.Second
	probeMax   = time.Minute
)

// breaker tells whether it is the plugin that fails, rather than some of its
// tenants. It counts tenants, not keys: one whose people all fail is one.
type breaker struct {
	seen    []ending  // the last of each tenant, oldest first
	openAt  time.Time // zero: closed
	last    span      // when it was open last
	call    int       // counts the calls that were weighed
	worked  int       // the last one in which anything worked
	pause   func(probes int) time.Duration
	probes  int       // that failed since it opened
	next    time.Time // the next probe
	reason  string    // the last failure, for operators
	tenants string    // what made it open
}

type ending struct {
	tenant string
	failed bool
	at     time.Time
	call   int
}

func (b *breaker) isOpen() bool { return !b.openAt.IsZero() }

// still is the span in which clocks stood still.
func (b *breaker) still() span {
	if b.isOpen() {
		return span{from: b.openAt}
	}
	return b.last
}

// note remembers how the attempts for a tenant ended in the latest call.
func (b *breaker) note(tenant string, failed bool, now time.Time) {
	for i := range b.seen {
		if b.seen[i].tenant == tenant {
			b.seen = append(b.seen[:i], b.seen[i+1:]...)
			break
		}
	}
	if len(b.seen) == breakerTenants {
		b.seen = append(b.seen[:0], b.seen[1:]...)
	}
	b.seen = append(b.seen, ending{tenant, failed, now, b.call})
	if !failed {
		b.worked = b.call
	}
}

// trip tells whether the fault is the plugin's, and opens the breaker then.
func (b *breaker) trip(now time.Time, reason string) bool {
	if b.isOpen() {
		return false
	}
	failed, all := 0, 0
	for _, o := range b.seen {
		if now.Sub(o.at) > breakerWindow {
			continue
		}
		all++
		if o.failed && o.call > b.worked {
			failed++
		}
	}
	if failed < breakerLeast || 2*failed <= all {
		return false
	}
	b.tenants = fmt.Sprintf("%d of the last %d tenants failed, and none worked since", failed, all)
	b.open(now, now, reason)
	return true
}

// open makes clocks stand still since a moment, and probes begin.
func (b *breaker) open(since, now time.Time, reason string) {
	b.openAt, b.reason = since, reason
	b.probes, b.next = 0, now.Add(b.pause(1))
}

// close forgets what made it open: it takes as much again to open it again.
func (b *breaker) close(now time.Time) {
	b.last = span{b.openAt, now}
	b.openAt, b.seen = time.Time{}, nil
}

// probed puts the next probe off after one that failed.
func (b *breaker) probed(now time.Time, reason string) {
	b.reason = reason
	b.probes++
	b.next = now.Add(b.pause(b.probes + 1))
}

// probePause is how long to wait before a probe, by its number.
func probePause(number int) time.Duration {
	if number > 6 {
		return probeMax
	}
	return min(probeFirst<<(number-1), probeMax)
}

// String tells operators what an open breaker means.
func (b *breaker) String() string {
	what := b.tenants
	if what == "" {
		what = "most tenants failed"
	}
	s := fmt.Sprintf("%s, so the plugin itself is at fault, since %s; its events wait, and one after the other is tried until one succeeds",
		what, b.openAt.UTC().Format(time.RFC3339))
	if b.reason != "" {
		s += "; last: " + b.reason
	}
	return s
}
