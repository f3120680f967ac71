package fanout

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestTheWaitGrowsFromASecondToAnHour(t *testing.T) {
	t.Parallel()
	for attempts, want := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 11: 1024 * time.Second,
		12: 2048 * time.Second, 13: time.Hour, 14: time.Hour, 64: time.Hour, 1 << 40: time.Hour,
	} {
		if got := backoff(attempts, func() float64 { return 1 }); got != want {
			t.Errorf("after %d attempts at most %s, want %s", attempts, got, want)
		}
		if got := backoff(attempts, func() float64 { return 0 }); got != 0 {
			t.Errorf("after %d attempts at least %s: jitter is not full", attempts, got)
		}
	}
}

func TestWhatTheOutsideAsksForIsHonouredWithinBounds(t *testing.T) {
	t.Parallel()
	for asked, want := range map[time.Duration]time.Duration{
		-time.Second: 100 * time.Millisecond, 0: 100 * time.Millisecond, time.Second: time.Second,
		24 * time.Hour: 24 * time.Hour, 1000 * time.Hour: 24 * time.Hour,
	} {
		if got := throttle(asked); got != want {
			t.Errorf("asked for %s, waits %s, want %s", asked, got, want)
		}
	}
}

func TestOnlyTheWaitsThatFailuresLedToUseUpRetryFor(t *testing.T) {
	t.Parallel()
	p := policy{retryFor: 3 * time.Hour, backoff: func(int) time.Duration { return time.Hour }}
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	for name, c := range map[string]struct {
		before tally
		now    time.Duration
		still  span
		spent  time.Duration
		dead   bool
	}{
		"the first failure":              {tally{}, 0, span{}, 0, false},
		"as planned":                     {tally{1, 0, at(0), at(time.Hour)}, time.Hour, span{}, time.Hour, false},
		"the last one":                   {tally{3, 2 * time.Hour, at(0), at(time.Hour)}, time.Hour, span{}, 3 * time.Hour, true},
		"four days after a stop":         {tally{1, 0, at(0), at(time.Hour)}, 96 * time.Hour, span{}, time.Hour, false},
		"cut short by an operator":       {tally{3, 2 * time.Hour, at(0), time.UnixMicro(0)}, time.Minute, span{}, 2 * time.Hour, false},
		"after the outside asked for it": {tally{1, 0, time.Time{}, at(time.Hour)}, time.Hour, span{}, 0, false},
		"the clock went back":            {tally{1, 0, at(0), at(time.Hour)}, -time.Hour, span{}, 0, false},
		"while the breaker was open":     {tally{1, 0, at(0), at(time.Hour)}, 2 * time.Hour, span{at(15 * time.Minute), at(90 * time.Minute)}, 15 * time.Minute, false},
		"the breaker is open still":      {tally{1, 0, at(0), at(time.Hour)}, time.Hour, span{from: at(15 * time.Minute)}, 15 * time.Minute, false},
		"it was open before":             {tally{1, 0, at(0), at(time.Hour)}, time.Hour, span{at(-2 * time.Hour), at(-time.Hour)}, time.Hour, false},
	} {
		got, dead := p.failed(c.before, at(c.now), c.still)
		if got.spent != c.spent || dead != c.dead || got.attempts != c.before.attempts+1 || got.nextAt != at(c.now+time.Hour) {
			t.Errorf("%s: %+v, dead %v; want %s spent, dead %v", name, got, dead, c.spent, c.dead)
		}
	}
}

// Whatever happens between failures, an event is given up only after its waits
// add up to retry_for, and then it is.
func TestLaw6_AnEventIsGivenUpAfterItsWaitsAddUpToRetryFor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		wait := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "wait"))
		p := policy{retryFor: 72 * time.Hour, backoff: func(int) time.Duration { return wait }}
		var is tally
		var dead bool
		now, waited, attempts := noon, time.Duration(0), 0
		for i := 0; i < 300 && !dead; i++ {
			counts := !is.failedAt.IsZero()
			late := time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "late"))
			if i > 0 {
				now = is.nextAt.Add(late)
			}
			if counts {
				waited += is.nextAt.Sub(is.failedAt)
			}
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				is = p.throttled(is, now, late, span{})
			} else {
				attempts++
				is, dead = p.failed(is, now, span{})
			}
			if is.attempts != attempts || is.spent != waited || dead && waited < p.retryFor {
				t.Fatalf("%+v after %d attempts and %s of waiting, dead %v", is, attempts, waited, dead)
			}
			if !dead && waited >= p.retryFor && !is.failedAt.IsZero() && attempts > 1 {
				t.Fatalf("not given up after %s", waited)
			}
		}
	})
}
