package main

import (
	"fmt"
	"strconv"
	"time"
)

// meterEvery is how often a meter is drawn anew.
const meterEvery = 100 * time.Millisecond

// meter tells on a terminal how far long work has come, in one line that is
// written over and over. Elsewhere it tells nothing.
type meter struct {
	c       *cli
	now     func() time.Time
	what    string
	from    int64 // where the work began
	began   time.Time
	drawnAt time.Time
	shown   bool
}

func (c *cli) newMeter() *meter {
	if !isTerminal(c.err) {
		return nil
	}
	return &meter{c: c, now: time.Now}
}

// show tells that so much of the total is done; a total of 0 is not known. what
// names the work, such as "reading events".
func (m *meter) show(what string, done, total int64) {
	if m == nil {
		return
	}
	now := m.now()
	if what != m.what {
		m.what, m.from, m.began, m.drawnAt = what, done, now, time.Time{}
	}
	if now.Sub(m.drawnAt) < meterEvery {
		return
	}
	m.drawnAt, m.shown = now, true
	fmt.Fprint(m.c.err, "\r\x1b[K"+m.line(done, total, now))
}

func (m *meter) line(done, total int64, now time.Time) string {
	line := m.what + " " + thousands(done)
	if total > 0 {
		line += " of " + thousands(total)
	}
	spent := now.Sub(m.began)
	if spent < time.Second || done <= m.from {
		return line // too early to tell how fast it is
	}
	rate := float64(done-m.from) / spent.Seconds()
	line += ", " + thousands(int64(rate)) + "/s"
	if left := time.Duration(float64(total-done) / rate * float64(time.Second)); total > done {
		line += ", " + left.Round(time.Second).String() + " left"
	}
	return line
}

// end takes the line away.
func (m *meter) end() {
	if m != nil && m.shown {
		fmt.Fprint(m.c.err, "\r\x1b[K")
		m.shown = false
	}
}

// thousands writes a number that is not negative in groups of three digits.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
