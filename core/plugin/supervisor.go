package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Supervisor keeps one connector running. New makes it, Run is its life; all
// other methods may be called at any time by anybody.
type Supervisor struct {
	opts Options
	wake chan struct{} // ends a pause between two starts

	configuring sync.Mutex // held while a configuration is being put in force

	mu      sync.Mutex
	spec    Spec
	status  Status
	info    Info
	hasInfo bool
	live    *instance     // nil: there is nothing to deliver to
	turn    chan struct{} // closed and replaced when live changes
	crashes crashes
	present *instance     // the process that there is, also while it starts and ends
	spent   time.Duration // CPU time of those before it
	mostCPU time.Duration // that was told
	dropped atomic.Int64  // lines of its log that were left out
	hidden  mask
	ran     bool
	ended   bool
}

// New makes a supervisor. It starts nothing.
func New(spec Spec, opts Options) *Supervisor {
	opts.Log = opts.Log.With().Str("plugin", spec.Name).Logger()
	opts.timing = opts.timing.withDefaults()
	s := &Supervisor{
		spec: spec, opts: opts, wake: make(chan struct{}, 1),
		status: Status{State: Stopped, Since: time.Now()},
		turn:   make(chan struct{}),
	}
	s.opts.timing.dropped, s.opts.timing.hidden = &s.dropped, &s.hidden
	return s
}

// Run keeps the connector running until ctx ends. Then no new batch is taken,
// those in flight may finish (10 s), and the process is ended (5 s, then
// SIGKILL to its group); when Run returns there is no process left. A connector
// that cannot run is no error of Run: Status tells it. Run can be called once.
func (s *Supervisor) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.ran {
		s.mu.Unlock()
		return errors.New("running the plugin's supervisor: it has been run before; make a new one")
	}
	s.ran = true
	s.mu.Unlock()
	defer s.end()

	restarts := 0
	crash, reject := s.opts.timing.crash, s.opts.timing.reject
	for {
		s.set(func(st *Status) { *st = Status{State: Starting, Reason: st.Reason, Restarts: restarts} })
		var pause time.Duration
		state := Backoff
		inst, err := s.start(ctx)
		if err == nil {
			up := time.Now()
			err = s.serve(ctx, inst)
			if time.Since(up) >= s.opts.timing.healthy {
				crash.reset()
			}
			reject.reset()
			pause = crash.next()
		} else {
			if rejected := (*configError)(nil); errors.As(err, &rejected) {
				state = Misconfigured
			}
			if errors.Is(err, ErrRefused) {
				state = Refused
			}
			pause = reject.next()
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errNotThere) {
			s.awaitThere(ctx, err)
			continue
		}
		if w := (*wish)(nil); errors.As(err, &w) {
			s.opts.Log.Info().Str("reason", w.reason).Msg("the plugin is started anew")
			s.set(func(st *Status) { *st = Status{State: Starting, Reason: w.Error(), Restarts: st.Restarts} })
			restarts++
			continue
		}
		if errors.Is(err, ErrCrashed) {
			s.crashed(inst)
			if s.quarantine(ctx, err) {
				crash.reset()
				restarts++
				continue
			}
		}
		s.opts.Log.Error().Err(err).Str("pause", pause.Round(time.Millisecond).String()).Msg("the plugin is not running and will be started again")
		s.set(func(st *Status) {
			*st = Status{State: state, Reason: printable([]byte(err.Error())), Restarts: st.Restarts}
		})
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		case <-s.wake:
		}
		restarts++
	}
}

// quarantine waits, if there were too many crashes, until somebody wants another
// start. It reports whether it waited.
func (s *Supervisor) quarantine(ctx context.Context, err error) bool {
	waited := false
	for {
		s.mu.Lock()
		held := s.crashes.quarantined
		s.mu.Unlock()
		if !held {
			return waited
		}
		if !waited {
			reason := printable(fmt.Appendf(nil, "quarantined, as it crashed %d times within %d minutes, last: %s", maxCrashes, int(crashWindow.Minutes()), err))
			s.opts.Log.Error().Err(err).Msgf("the plugin crashed %d times within %d minutes and is not started again: its events wait; "+
				"mend the cause, then run `avhub plugin restart %s`, or send the hub SIGHUP", maxCrashes, int(crashWindow.Minutes()), s.current().Name)
			s.set(func(st *Status) { *st = Status{State: Quarantined, Reason: reason, Restarts: st.Restarts} })
		}
		waited = true
		select {
		case <-ctx.Done():
			return true
		case <-s.wake:
		}
	}
}

// awaitThere tells once that no connector waits to be attached to, and waits a
// moment. That is no failure: a person starts it when they want to.
func (s *Supervisor) awaitThere(ctx context.Context, err error) {
	reason := printable([]byte(err.Error()))
	if is := s.Status(); is.State == Starting && is.Reason != reason {
		s.opts.Log.Info().Msg(reason)
		s.set(func(st *Status) { *st = Status{State: Starting, Reason: reason, Restarts: st.Restarts} })
	}
	select {
	case <-ctx.Done():
	case <-time.After(attachEvery):
	case <-s.wake:
	}
}

// start brings a process to the point where it takes batches.
func (s *Supervisor) start(ctx context.Context) (*instance, error) {
	begin := launch
	if s.current().Attach != "" {
		begin = attach
	}
	inst, err := begin(ctx, s.current(), s.opts)
	if err != nil {
		return nil, err
	}
	s.attend(inst)
	info, err := inst.describe(ctx)
	if err == nil {
		s.mu.Lock()
		s.info, s.hasInfo = info, true
		s.mu.Unlock()
		err = s.goLive(ctx, inst)
	}
	if err != nil {
		inst.killNow()
		s.attend(nil)
		return nil, err
	}
	return inst, nil
}

func (s *Supervisor) current() Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spec
}

// goLive configures a process and lets callers deliver to it. No other
// configuration can come in between.
func (s *Supervisor) goLive(ctx context.Context, inst *instance) error {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	diags, err := inst.configure(ctx, s.current().Config, false)
	if err != nil {
		return err
	}
	if anyError(diags) {
		return &configError{diags}
	}
	s.warn(diags)
	info, _ := s.Info()
	s.opts.Log.Info().Int("pid", inst.pid()).Str("version", info.Version).Msg("the plugin is running")
	s.set(func(st *Status) {
		*st = Status{State: Running, PID: inst.pid(), Restarts: st.Restarts}
		s.setLive(inst)
	})
	return nil
}

func (s *Supervisor) warn(diags []Diagnostic) {
	for _, d := range diags {
		s.opts.Log.Warn().Str("path", d.Path).Msg(printable([]byte(d.String())))
	}
}

// serve lets callers deliver until the instance fails or ctx ends, and ends the
// process. It returns why the instance failed.
func (s *Supervisor) serve(ctx context.Context, inst *instance) error {
	err := inst.watch(ctx)
	s.mu.Lock()
	s.setLive(nil)
	s.mu.Unlock()
	defer s.attend(nil)
	w := inst.wish()
	if err != nil && (w == nil || w.now) {
		inst.killNow()
		if w != nil {
			return w
		}
		return err
	}
	inst.drain()
	inst.kill()
	s.opts.Log.Info().Msg("the plugin has stopped")
	if w != nil {
		return w
	}
	return nil
}

// Reconfigure puts another configuration in force, a JSON object. A connector
// that runs is configured in place: calls in flight finish with the old
// configuration, and diagnostics of severity error, or an error of the call,
// mean that the old one stays. One that does not run is started with the new
// configuration, at once.
func (s *Supervisor) Reconfigure(ctx context.Context, config json.RawMessage) ([]Diagnostic, error) {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	s.mu.Lock()
	inst := s.live
	s.mu.Unlock()
	if inst != nil {
		diags, err := inst.configure(ctx, config, false)
		if err == nil && anyError(diags) {
			return diags, nil
		}
		// What a process that has ended was told does not matter.
		if err != nil && (ctx.Err() != nil || !inst.hasExited(0)) {
			return nil, err
		}
		s.warn(diags)
	}
	s.mu.Lock()
	s.spec.Config = config
	s.mu.Unlock()
	if inst == nil {
		s.Resume()
	}
	return nil, nil
}

// Wake ends the pause before the next start, if there is one: what kept the
// connector from running may have changed. It does not end a quarantine.
func (s *Supervisor) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Pin returns what the program that runs was held against; nil if nothing runs,
// or anything might.
func (s *Supervisor) Pin() *Pin {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return nil
	}
	return s.live.pin
}

// Deliver hands a batch to the connector and returns its answer as it came:
// checking it against the request is the caller's part. ctx should have a
// deadline; the connector answers a little before it.
//
// The error is ErrNotRunning (by errors.Is) if nothing was attempted, ErrCrashed
// (and by errors.As a *Crash) if the process died while it had the batch, and
// ErrEnded if the hub ended it for reasons of its own. After these and every
// other error it is not known what was done, and the batch has to be delivered
// again.
func (s *Supervisor) Deliver(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	s.mu.Lock()
	inst := s.live
	s.mu.Unlock()
	if inst == nil {
		return nil, fmt.Errorf("delivering to the plugin: %w", ErrNotRunning)
	}
	resp, err := inst.deliver(ctx, req)
	if errors.Is(err, ErrCrashed) && inst.proc != nil {
		s.crashed(inst) // before anybody can excuse it
	}
	return resp, err
}

// WaitReady returns nil as soon as there is a connector to deliver to. It may
// be gone again when Deliver is called; then Deliver says ErrNotRunning. The
// error is that of ctx, or ErrStopped when Run has returned.
func (s *Supervisor) WaitReady(ctx context.Context) error {
	for {
		s.mu.Lock()
		live, turn, ended := s.live, s.turn, s.ended
		s.mu.Unlock()
		switch {
		case live != nil:
			return nil
		case ended:
			return ErrStopped
		}
		select {
		case <-turn:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the plugin: %w", context.Cause(ctx))
		}
	}
}

// Info returns how the connector last described itself; false if it never did.
func (s *Supervisor) Info() (Info, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info, s.hasInfo
}

// Status returns what the plugin is doing now.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// setLive changes what there is to deliver to, and wakes those who wait for it.
// The caller holds the lock.
func (s *Supervisor) setLive(inst *instance) {
	s.live = inst
	close(s.turn)
	s.turn = make(chan struct{})
}

// set changes the status under the lock, and tells it. Only Run's goroutine
// does.
func (s *Supervisor) set(change func(*Status)) {
	s.mu.Lock()
	change(&s.status)
	s.status.Version = s.info.Version
	s.status.Since = time.Now()
	now := s.status
	s.mu.Unlock()
	if s.opts.OnChange != nil {
		s.opts.OnChange(now)
	}
}

func (s *Supervisor) end() {
	s.set(func(st *Status) {
		*st = Status{State: Stopped, Restarts: st.Restarts}
		s.ended = true
		s.setLive(nil)
	})
}
