package plugin

import (
	"errors"
	"fmt"
	"time"
)

// ErrCrashed says that the connector's process ended by its own fault: by
// itself, or by the hub because it did not answer or took more than it may. What
// it did with a batch that it had is not known. The error is a *Crash, too, by
// errors.As.
var ErrCrashed = errors.New("the plugin's process ended")

// ErrEnded says that the hub ended the connector's process while it had the
// batch, for a reason that has nothing to do with the batch. What was done with
// it is not known.
var ErrEnded = errors.New("the plugin's process was ended by the hub")

// Crash is how a process ended.
type Crash struct {
	Exit string // "exit status 2", "signal: killed", "no sign of life for 5s"
	// Tail is the end of what it wrote to its standard error, from its panic on
	// if there was one: printable lines, at most 4 KiB.
	Tail string

	line string // the one that tells most
	text string // the whole message, if it is another than the usual one
}

// Error is the end in one line.
func (c *Crash) Error() string {
	if c.text != "" {
		return c.text
	}
	return ErrCrashed.Error() + ": " + c.end()
}

// Unwrap returns ErrCrashed.
func (c *Crash) Unwrap() error { return ErrCrashed }

func (c *Crash) end() string {
	if c.line == "" {
		return c.Exit
	}
	return c.Exit + ": " + c.line
}

const (
	// maxCrashes within crashWindow are a crash loop: starting the plugin again
	// has not helped, and goes on at the cost of whatever it does outside.
	maxCrashes  = 5
	crashWindow = 10 * time.Minute
)

// crashes are the latest ones, for telling a loop from bad luck. The caller
// takes care of locking.
type crashes struct {
	at          []time.Time
	excusable   bool // the last one was not excused yet
	quarantined bool
	total       int64 // excused ones, too
}

// add counts one, and tells whether they are too many by now.
func (c *crashes) add(now time.Time) {
	c.at = append(c.at, now)
	c.excusable = true
	c.total++
	c.judge(now)
}

func (c *crashes) judge(now time.Time) {
	for len(c.at) > 0 && now.Sub(c.at[0]) > crashWindow {
		c.at = c.at[1:]
	}
	c.quarantined = len(c.at) >= maxCrashes
}

// excuse takes the last one back. Several callers may have seen the same one.
func (c *crashes) excuse(now time.Time) {
	if !c.excusable {
		return
	}
	c.excusable = false
	if n := len(c.at); n > 0 {
		c.at = c.at[:n-1]
	}
	if c.quarantined {
		c.judge(now)
	}
}

// forget begins anew.
func (c *crashes) forget() { c.at, c.excusable, c.quarantined = nil, false, false }

// crashed counts a crash, that of a process only once.
func (s *Supervisor) crashed(inst *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if inst != nil {
		if inst.counted {
			return
		}
		inst.counted = true
		if s.live == inst {
			s.setLive(nil) // Run notices a moment later; nobody else should call the dead
		}
	}
	s.crashes.add(time.Now())
}

// Excuse says that the cause of the last crash is known and being dealt with, so
// that it does not count toward quarantine. It may be called by everybody who
// had a call fail by that crash.
func (s *Supervisor) Excuse() {
	s.mu.Lock()
	was := s.crashes.quarantined
	s.crashes.excuse(time.Now())
	lifted := was && !s.crashes.quarantined
	s.mu.Unlock()
	if lifted {
		s.Wake()
	}
}

// Resume ends a quarantine and the pause before the next start, if there is
// one, and forgets earlier crashes. A connector that runs is left alone.
func (s *Supervisor) Resume() {
	s.mu.Lock()
	s.crashes.forget()
	s.mu.Unlock()
	s.Wake()
}

// Restart has the process drained and started anew, soon after it returns. It
// ends a quarantine and the pause before the next start, too. The reason is for
// the log and the status.
func (s *Supervisor) Restart(reason string) {
	s.mu.Lock()
	inst := s.live
	s.crashes.forget()
	s.mu.Unlock()
	if inst == nil {
		s.Wake() // what is being started is new enough
		return
	}
	inst.end(&wish{reason: printable([]byte(reason))})
}

// Kill ends the process and its group by SIGKILL at once: when it returns, the
// signal has been sent, and no call is taken before the next start, which comes
// without a pause. Calls in flight fail with ErrEnded. It is no crash. A process
// that has not been given anything yet is left alone.
func (s *Supervisor) Kill(reason string) {
	s.mu.Lock()
	inst := s.live
	if inst != nil {
		s.setLive(nil)
	}
	s.mu.Unlock()
	if inst != nil {
		inst.end(&wish{reason: printable([]byte(reason)), now: true})
	}
}

// wish is somebody's order to end a process that has done nothing wrong.
type wish struct {
	reason string
	now    bool // without a drain
}

func (w *wish) Error() string { return "it was asked for: " + w.reason }

// end has the instance's keeper end it. What was attached to is not ours to end.
func (inst *instance) end(w *wish) {
	if inst.proc == nil {
		return
	}
	inst.mu.Lock()
	if inst.wished == nil {
		close(inst.told)
		inst.wished = w
	}
	if w.now {
		inst.wished = w
	}
	inst.mu.Unlock()
	if w.now {
		inst.proc.kill("")
	}
}

// wish returns the order that the instance has, nil if there is none.
func (inst *instance) wish() *wish {
	inst.mu.Lock()
	defer inst.mu.Unlock()
	return inst.wished
}

// crash describes an instance that has ended.
func (inst *instance) crash() *Crash {
	if inst.proc == nil {
		return &Crash{Exit: "somebody else had started it"}
	}
	return inst.proc.crash()
}

// ended is the error of a call during which the process ended.
func (inst *instance) ended() error {
	c := inst.crash()
	inst.mu.Lock()
	byHub := inst.draining || inst.wished != nil
	inst.mu.Unlock()
	if byHub || inst.proc != nil && !inst.proc.atFault() {
		return fmt.Errorf("%w while it had the batch", ErrEnded)
	}
	c.text = fmt.Sprintf("%s while it had the batch (%s)", ErrCrashed, c.end())
	return c
}
