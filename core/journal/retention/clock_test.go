package retention

import (
	"testing"
	"time"
)

func TestTheClockFollowsTheWallClockButDoesNotJumpWithIt(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	const year = 365 * 24 * time.Hour
	for _, c := range []struct {
		name                 string
		stored, newest, wall time.Time
		elapsed              time.Duration
		next, now            time.Time
	}{
		{"an empty journal", time.Time{}, time.Time{}, noon, 0, noon, noon},
		{"a journal from before there was a clock", time.Time{}, noon.Add(-time.Minute), noon, 0, noon, noon},
		{"a clock that jumped before there was one", time.Time{}, noon.Add(-year), noon, time.Minute, noon.Add(4*time.Minute - year), noon.Add(4*time.Minute - year)},
		{"time passes", noon, noon, noon.Add(time.Minute), time.Minute, noon.Add(time.Minute), noon.Add(time.Minute)},
		{"a short stop", noon, noon, noon.Add(time.Hour), 0, noon.Add(time.Hour), noon.Add(time.Hour)},
		{"a long stop", noon, noon, noon.Add(48 * time.Hour), time.Minute, noon.Add(4 * time.Minute), noon.Add(4 * time.Minute)},
		{"a year ahead", noon, noon, noon.Add(year), time.Minute, noon.Add(4 * time.Minute), noon.Add(4 * time.Minute)},
		{"a year behind", noon, noon, noon.Add(-year), time.Minute, noon.Add(-4 * time.Minute), noon.Add(-year)},
		{"an hour behind", noon, noon, noon.Add(-time.Hour), time.Minute, noon.Add(-time.Hour), noon.Add(-time.Hour)},
		{"nearly there", noon, noon, noon.Add(time.Hour + 2*time.Minute), time.Minute, noon.Add(4 * time.Minute), noon.Add(4 * time.Minute)},
	} {
		next, now := advance(c.stored, c.newest, c.wall, c.elapsed)
		if !next.Equal(c.next) || !now.Equal(c.now) {
			t.Errorf("%s: next %s, now %s", c.name, next, now)
		}
		if now.After(c.wall) {
			t.Errorf("%s: it passes the wall clock", c.name)
		}
	}
}

// An hour in which the clock was a year off, in either direction, leaves it off by
// hours at most.
func TestTheClockRecoversFromAJump(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour} {
		start := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
		stored, real, now := start, start, start
		for minute := range 6 * 60 {
			real = real.Add(time.Minute)
			wall := real
			if minute < 60 {
				wall = real.Add(off)
			}
			stored, now = advance(stored, start, wall, time.Minute)
			if now.Sub(real) > 4*time.Hour {
				t.Fatalf("%s off: %s ahead after %d minutes", off, now.Sub(real), minute)
			}
		}
		if !now.Equal(real) {
			t.Errorf("%s off: it has not recovered after five hours: %s", off, now.Sub(real))
		}
	}
}
