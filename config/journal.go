package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/sdk/schema"
)

// Journal says how long events are kept.
type Journal struct {
	Retain    Keep          `json:"retain" doc:"How long events stay in the journal, such as 90d or 720h, at least 1h; forever: all of them. Events that something still needs stay longer." default:"90d"`
	DedupeFor time.Duration `json:"dedupe_for" doc:"How long the id of an event is remembered at least, so that it is journaled once however late it comes again. Never shorter than the event itself stays." default:"720h" min:"24h" max:"87600h"`
	MaxLag    Lag           `json:"max_lag" doc:"How far a plugin may fall behind before the journal stops waiting for it: a time such as 7d, or a number such as 1000000 events. Its deliveries end then until avhub plugin reset. off: the journal waits for as long as it takes." default:"off"`
}

// Keep is how long something is kept; 0 means forever.
type Keep time.Duration

const leastKept = time.Hour

// UnmarshalText reads 90d, 36h, forever or 0.
func (k *Keep) UnmarshalText(text []byte) error {
	if s := string(text); s == "forever" || s == "0" {
		*k = 0
		return nil
	}
	d, err := parseDays(string(text))
	if err != nil || d < leastKept {
		return errors.New("write a time of at least 1h such as 90d or 720h, or forever")
	}
	*k = Keep(d)
	return nil
}

// MarshalText writes it as it is read.
func (k Keep) MarshalText() ([]byte, error) {
	if k == 0 {
		return []byte("forever"), nil
	}
	return []byte(days(time.Duration(k))), nil
}

// Lag is how far somebody may be behind: by a number of events, or by time. Both
// 0: as far as may be.
type Lag struct {
	Events int64
	Time   time.Duration
}

const eventsWord = " events"

// UnmarshalText reads 7d, 36h, 1000000 events or off.
func (l *Lag) UnmarshalText(text []byte) error {
	wrong := errors.New("write a time of at least 1h such as 7d, a number such as 1000000 events, or off")
	s := string(text)
	if s == "off" {
		*l = Lag{}
		return nil
	}
	if number, ok := strings.CutSuffix(s, eventsWord); ok {
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 1 {
			return wrong
		}
		*l = Lag{Events: n}
		return nil
	}
	d, err := parseDays(s)
	if err != nil || d < leastKept {
		return wrong
	}
	*l = Lag{Time: d}
	return nil
}

// MarshalText writes it as it is read.
func (l Lag) MarshalText() ([]byte, error) {
	switch {
	case l.Events > 0:
		return []byte(strconv.FormatInt(l.Events, 10) + eventsWord), nil
	case l.Time > 0:
		return []byte(days(l.Time)), nil
	}
	return []byte("off"), nil
}

const day = 24 * time.Hour

// parseDays is time.ParseDuration with days, which people mean most.
func parseDays(text string) (time.Duration, error) {
	number, ok := strings.CutSuffix(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > 100*365 {
		return 0, fmt.Errorf("%q is no number of days", text)
	}
	return time.Duration(n) * day, nil
}

func days(d time.Duration) string {
	if d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (c *Config) validateJournal(found *collector) {
	at := schema.Path{"journal"}
	// Text cannot say these, Go can.
	if k := time.Duration(c.Journal.Retain); k < 0 || k > 0 && k < leastKept {
		found.add(at.Child("retain"), "is too short", "write a time of at least 1h such as 90d, or forever")
	}
	if l := c.Journal.MaxLag; l.Events < 0 || l.Time < 0 || l.Time > 0 && l.Time < leastKept || l.Events > 0 && l.Time > 0 {
		found.add(at.Child("max_lag"), "is no lag", "write a time of at least 1h such as 7d, a number such as 1000000 events, or off")
	}
}
