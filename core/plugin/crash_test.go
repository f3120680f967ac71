package plugin

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// crash has the connector die, and waits for the next one or the pause after it.
func (r *rig) crash(t *testing.T) error {
	t.Helper()
	r.ready(t)
	_, err := r.Deliver(t.Context(), batchOf("a:crash"))
	if !errors.Is(err, ErrCrashed) {
		t.Fatal(err)
	}
	return err
}

func (r *rig) quarantined(t *testing.T) Status {
	t.Helper()
	return r.await(t, "the quarantine", func(s Status) bool { return s.State == Quarantined })
}

func TestACrashTellsItsExitAndItsLastWords(t *testing.T) {
	t.Parallel()
	r := running(t)
	r.deliver(t, "a:log") // lines before the end, which the panic is worth more than
	err := r.crash(t)
	var c *Crash
	if !errors.As(err, &c) || c.Exit != "exit status 2" {
		t.Fatalf("%#v", err)
	}
	if !strings.HasPrefix(c.Tail, "panic: a goroutine of the connector's own\n") || !strings.Contains(c.Tail, "goroutine ") ||
		len(c.Tail) > maxTailBytes || strings.Contains(c.Tail, "after the long one") {
		t.Errorf("%d bytes: %q", len(c.Tail), c.Tail)
	}
}

func TestTheTailIsTheEndOfWhatWasWrittenAndBounded(t *testing.T) {
	t.Parallel()
	var tail lastLine
	for range 1000 {
		tail.add(strings.Repeat("x", 99), false)
	}
	tail.add("the end", false)
	if got := tail.end(); len(got) > maxTailBytes || !strings.HasSuffix(got, "x\nthe end") {
		t.Errorf("%d bytes: …%q", len(got), got[len(got)-20:])
	}
	tail.add(strings.Repeat("ö", maxTailBytes), false)
	if got := tail.end(); len(got) > maxTailBytes || strings.Trim(got, "ö") != "" {
		t.Errorf("%d bytes", len(got))
	}
	for _, text := range []string{"panic: no", strings.Repeat("y", maxTailBytes), "later"} {
		tail.add(text, lastWords(text))
	}
	if got := tail.end(); len(got) > maxTailBytes || !strings.HasPrefix(got, "panic: no\ny") || strings.Contains(got, "later") {
		t.Errorf("%d bytes: %q…", len(got), got[:20])
	}
}

func TestLaw7_ACrashLoopIsQuarantinedUntilSomebodyWantsAnotherStart(t *testing.T) {
	t.Parallel()
	for name, resume := range map[string]func(t *testing.T, r *rig){
		"Restart": func(_ *testing.T, r *rig) { r.Restart("mended") },
		"Resume":  func(_ *testing.T, r *rig) { r.Resume() },
		"a new configuration": func(t *testing.T, r *rig) {
			if diags, err := r.Reconfigure(t.Context(), r.config("hello", r.traces)); err != nil || len(diags) > 0 {
				t.Error(diags, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := running(t)
			for range maxCrashes {
				r.crash(t)
			}
			st := r.quarantined(t)
			if !strings.Contains(st.Reason, "crashed 5 times within 10 minutes") || !strings.Contains(st.Reason, "panic: a goroutine") || st.PID != 0 {
				t.Errorf("%+v", st)
			}
			r.Wake() // a pause would end by that, or by itself
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if err := r.WaitReady(ctx); err == nil {
				t.Fatal("a quarantined connector was started")
			}
			if _, err := r.Deliver(t.Context(), batchOf("a:ok")); !errors.Is(err, ErrNotRunning) {
				t.Errorf("%v", err)
			}
			told := 0
			for _, line := range r.logs.lines(t) {
				if text, _ := line["message"].(string); strings.Contains(text, "avhub plugin restart traces") {
					told++
				}
			}
			if told != 1 {
				t.Errorf("told %d times what to do", told)
			}
			resume(t, r)
			r.deliver(t, "a:ok")
			r.crash(t) // earlier ones are forgotten
			r.deliver(t, "a:ok")
		})
	}
}

func TestExcusedCrashesDoNotCount(t *testing.T) {
	t.Parallel()
	r := running(t)
	for range 2 * maxCrashes {
		r.crash(t)
		r.Excuse()
		r.Excuse() // by another call that failed with it
	}
	for range maxCrashes - 1 {
		r.crash(t)
	}
	r.deliver(t, "a:ok")
	r.crash(t)
	r.quarantined(t)
	r.Excuse() // too late for the pause, not for the sentence
	r.deliver(t, "a:ok")
}

func TestAProgramThatDiesAtItsStartIsQuarantinedAndOneThatIsMissingIsNot(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]bool{"exits": true, "missing": false} {
		spec, traces := testSpec(t, mode)
		if mode == "missing" {
			spec.Command = []string{"/no/such/program"}
		}
		tm := quick()
		tm.reject = backoff{base: time.Millisecond, max: time.Millisecond}
		r := run(t, spec, traces, tm)
		st := r.await(t, "many starts", func(s Status) bool { return s.State == Quarantined || s.Restarts > 2*maxCrashes })
		if (st.State == Quarantined) != want {
			t.Errorf("%s: %+v", mode, st)
		}
	}
}

func TestCrashesLongAgoDoNotCount(t *testing.T) {
	t.Parallel()
	var c crashes
	now := time.Now()
	for i := range 3 * maxCrashes {
		c.add(now.Add(time.Duration(i) * (crashWindow/(maxCrashes-1) + time.Second)))
		if c.quarantined {
			t.Fatalf("quarantined after %d crashes", i+1)
		}
	}
}

func TestRestartDrainsAndStartsAnewWithoutAPause(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "connector")
	tm := quick()
	tm.crash = backoff{base: time.Hour, max: time.Hour}
	r := run(t, spec, traces, tm)
	pid := r.pid(t)
	slow := make(chan error, 1)
	go func() {
		_, err := r.Deliver(context.Background(), batchOf("a:slow"))
		slow <- err
	}()
	eventually(t, "the slow event", func() bool { return exists(filepath.Join(traces, "inside")) })
	for range 2 * maxCrashes { // of no more consequence than one
		r.Restart("the token was renewed")
	}
	eventually(t, "the begin of the drain", func() bool {
		_, err := r.Deliver(t.Context(), batchOf("b:ok"))
		return errors.Is(err, ErrNotRunning)
	})
	if err := r.trace("release"); err != nil {
		t.Fatal(err)
	}
	if err := <-slow; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
	if next := r.pid(t); next == pid || !gone(pid) {
		t.Errorf("process %d after %d", next, pid)
	}
	if !exists(filepath.Join(traces, "closed")) {
		t.Error("the connector was not closed")
	}
	if st := r.Status(); st.Restarts != 1 {
		t.Errorf("%+v", st)
	}
	if line := r.logs.find(t, "the plugin is started anew"); line["reason"] != "the token was renewed" {
		t.Errorf("%v", line)
	}
}

func (r *rig) trace(name string) error { return conn{dir: r.traces}.trace(name, "") }

func TestKillEndsTheProcessAtOnceAndIsNoCrash(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "connector")
	tm := quick()
	tm.crash = backoff{base: time.Hour, max: time.Hour}
	r := run(t, spec, traces, tm)
	for range maxCrashes + 1 {
		pid := r.pid(t)
		frozen := make(chan error, 1)
		go func() {
			_, err := r.Deliver(context.Background(), batchOf("a:freeze"))
			frozen <- err
		}()
		eventually(t, "the connector is frozen", func() bool { return stopped(pid) })
		r.Kill("the lease is lost")
		if _, err := r.Deliver(t.Context(), batchOf("b:ok")); err != nil && !errors.Is(err, ErrNotRunning) {
			t.Errorf("after Kill: %v", err)
		}
		if err := <-frozen; !errors.Is(err, ErrEnded) || errors.Is(err, ErrCrashed) {
			t.Errorf("the call in flight: %v", err)
		}
		eventually(t, "the end of the process", func() bool { return gone(pid) })
	}
	r.deliver(t, "a:ok")
	r.stop()
	r.Kill("there is nothing to kill")
	r.Restart("there is nothing to restart")
}

func TestAProcessThatSomebodyKillsHasCrashed(t *testing.T) {
	t.Parallel()
	r := running(t)
	pid := r.pid(t)
	inside := make(chan error, 1)
	go func() {
		_, err := r.Deliver(context.Background(), batchOf("a:slow"))
		inside <- err
	}()
	eventually(t, "the slow event", func() bool { return exists(filepath.Join(r.traces, "inside")) })
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var c *Crash
	if err := <-inside; !errors.As(err, &c) || c.Exit != "signal: killed" {
		t.Errorf("%v", err)
	}
}
