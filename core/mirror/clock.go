package mirror

import (
	"cmp"
	"strings"
)

// clock is the provider's time of an event, in Unix microseconds, with the
// event's id to tell events of the same microsecond apart. The zero clock is
// before all others and stands for "never".
type clock struct {
	micros int64
	id     string
}

func (c clock) compare(other clock) int {
	if c.micros != other.micros {
		return cmp.Compare(c.micros, other.micros)
	}
	return strings.Compare(c.id, other.id)
}

func (c clock) after(other clock) bool { return c.compare(other) > 0 }

func (c clock) isZero() bool { return c.micros == 0 && c.id == "" }

func latest(a, b clock) clock {
	if a.after(b) {
		return a
	}
	return b
}

// saidAfter compares by the time that people are told.
func (c clock) saidAfter(other clock) bool {
	if a, b := c.shown(), other.shown(); a != b {
		return a > b
	}
	return c.after(other)
}
