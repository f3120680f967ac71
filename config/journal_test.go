package config

import (
	"testing"
	"time"
)

func TestHowLongEventsAreKeptIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Keep{
		"90d": Keep(90 * day), "36h": Keep(36 * time.Hour), "1h30m": Keep(90 * time.Minute), "forever": 0,
	} {
		var k Keep
		if err := k.UnmarshalText([]byte(text)); err != nil || k != want {
			t.Errorf("%q: %v %v", text, time.Duration(k), err)
		}
		if back, err := k.MarshalText(); err != nil || string(back) != text && text != "36h" {
			t.Errorf("%q is written as %q: %v", text, back, err)
		}
	}
	for _, text := range []string{"", "90", "-1d", "5m", "1.5d", "90 d", "0s", "99999999d", "9223372036854775807d"} {
		var k Keep
		if err := k.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken as %v", text, time.Duration(k))
		}
	}
}

func TestAMaximalLagIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Lag{
		"off": {}, "7d": {Time: 7 * day}, "25h": {Time: 25 * time.Hour}, "1000000 events": {Events: 1000000},
	} {
		var l Lag
		if err := l.UnmarshalText([]byte(text)); err != nil || l != want {
			t.Errorf("%q: %+v %v", text, l, err)
		}
		if back, err := l.MarshalText(); err != nil || string(back) != text {
			t.Errorf("%q is written as %q: %v", text, back, err)
		}
	}
	for _, text := range []string{"", "0", "0 events", "-5 events", "1e6 events", "5m", "7 d", "1000000"} {
		var l Lag
		if err := l.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken as %+v", text, l)
		}
	}
}
