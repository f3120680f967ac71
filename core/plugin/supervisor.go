package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Supervisor keeps one connector running. New makes it, Run is its life; all
// other methods may be called at any time by anybody.
type Supervisor struct {
	spec Spec
	opts Options

	mu      sync.Mutex
	status  Status
	info    Info
	hasInfo bool
	live    *instance     // nil: there is nothing to deliver to
	turn    chan struct{} // closed and replaced when live changes
	ran     bool
	ended   bool
}

// New makes a supervisor. It starts nothing.
func New(spec Spec, opts Options) *Supervisor {
	opts.Log = opts.Log.With().Str("plugin", spec.Name).Logger()
	opts.timing = opts.timing.withDefaults()
	return &Supervisor{
		spec: spec, opts: opts,
		status: Status{State: Stopped, Since: time.Now()},
		turn:   make(chan struct{}),
	}
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
			pause = reject.next()
		}
		if ctx.Err() != nil {
			return nil
		}
		s.opts.Log.Error().Err(err).Str("pause", pause.Round(time.Millisecond).String()).Msg("the plugin is not running and will be started again")
		s.set(func(st *Status) {
			*st = Status{State: state, Reason: printable([]byte(err.Error())), Restarts: st.Restarts}
		})
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		restarts++
	}
}

// start brings a process to the point where it takes batches.
func (s *Supervisor) start(ctx context.Context) (*instance, error) {
	inst, err := launch(ctx, s.spec, s.opts)
	if err != nil {
		return nil, err
	}
	info, err := inst.describe(ctx)
	if err == nil {
		s.mu.Lock()
		s.info, s.hasInfo = info, true
		s.mu.Unlock()
		err = s.configure(ctx, inst)
	}
	if err != nil {
		inst.killNow()
		return nil, err
	}
	return inst, nil
}

func (s *Supervisor) configure(ctx context.Context, inst *instance) error {
	diags, err := inst.configure(ctx, s.spec.Config, false)
	if err != nil {
		return err
	}
	if anyError(diags) {
		return &configError{diags}
	}
	for _, d := range diags {
		s.opts.Log.Warn().Str("path", d.Path).Msg(printable([]byte(d.String())))
	}
	return nil
}

// serve lets callers deliver until the instance fails or ctx ends, and ends the
// process. It returns why the instance failed.
func (s *Supervisor) serve(ctx context.Context, inst *instance) error {
	info, _ := s.Info()
	s.opts.Log.Info().Int("pid", inst.proc.pid()).Str("version", info.Version).Msg("the plugin is running")
	s.set(func(st *Status) {
		*st = Status{State: Running, PID: inst.proc.pid(), Restarts: st.Restarts}
		s.setLive(inst)
	})
	err := inst.watch(ctx)
	s.mu.Lock()
	s.setLive(nil)
	s.mu.Unlock()
	if err != nil {
		inst.killNow()
		return err
	}
	inst.drain()
	inst.kill()
	s.opts.Log.Info().Msg("the plugin has stopped")
	return nil
}

// Deliver hands a batch to the connector and returns its answer as it came:
// checking it against the request is the caller's part. ctx should have a
// deadline; the connector answers a little before it.
//
// The error is ErrNotRunning (by errors.Is) if nothing was attempted, ErrDied
// if the process ended while it had the batch. After ErrDied and every other
// error it is not known what was done, and the batch has to be delivered again.
func (s *Supervisor) Deliver(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	s.mu.Lock()
	inst := s.live
	s.mu.Unlock()
	if inst == nil {
		return nil, fmt.Errorf("delivering to the plugin: %w", ErrNotRunning)
	}
	return inst.deliver(ctx, req)
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
