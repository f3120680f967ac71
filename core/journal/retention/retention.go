// Package retention removes from the journal what is older than it has to be and
// what nobody needs any more, and the ids of events long after that.
//
// It removes events from the oldest on and leaves no holes, so that positions stay
// gapless from the one on that the journal begins with. What holds events is asked
// in the transaction that deletes them. Events that the mirror could not apply stay
// until they are reapplied; dead letters have their own copy.
package retention

import (
	"context"
	"time"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Hold is what somebody still needs of the journal: everything beyond Position.
type Hold struct {
	By       string `json:"by"` // such as "plugin billing"
	Position int64  `json:"position"`
	// Advice is what an operator can do where it holds for too long.
	Advice string `json:"advice,omitempty"`
}

// Holder tells what it needs of the journal as of the transaction that ctx
// carries. What it needs may only move on, except in transactions that have called
// journal.Hold.
type Holder func(ctx context.Context) ([]Hold, error)

// Config says how long things are kept.
type Config struct {
	Retain    time.Duration // of events; 0: for ever
	DedupeFor time.Duration // of ids; at least a day
}

// Deps are what a Retention works with. Zero values mean the defaults, but for
// Store and Journal.
type Deps struct {
	Store   *store.Store
	Journal *journal.Journal
	Holders []Holder
	// Before is called before each look of Run, with the time by which it goes.
	Before     func(ctx context.Context, now time.Time) error
	Log        zerolog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // the hub's clock
	// Wait waits and tells whether ctx has not ended, and how long it took by a
	// clock that nobody sets.
	Wait func(ctx context.Context, d time.Duration) (ok bool, took time.Duration)
}

// Retention prunes the journal. Hubs on one database may all run it; they do not
// get into each other's way.
type Retention struct {
	cfg     Config
	deps    Deps
	metrics metrics

	// Of Run's goroutine alone.
	warned map[string]time.Time // by what was said
	size   int                  // of the next chunk
	missed int                  // turns in a row
}

// leastIds is the shortest time for which ids are kept: senders repeat what they
// could not deliver for about that long.
const leastIds = 24 * time.Hour

// New returns a retention; Run makes it work by itself.
func New(cfg Config, deps Deps) *Retention {
	if deps.Now == nil {
		deps.Now = store.Now
	}
	if deps.Wait == nil {
		deps.Wait = wait
	}
	cfg.DedupeFor = max(cfg.DedupeFor, leastIds)
	return &Retention{cfg: cfg, deps: deps, metrics: newMetrics(deps.Registerer), warned: map[string]time.Time{}, size: chunkStart}
}

const (
	// lookEvery is how often Run looks whether there is something to remove.
	lookEvery = time.Minute
	// settle is how long a hub that was just started waits with the first look.
	settle = 10 * time.Second
	// warnEvery is how often the same is said again.
	warnEvery = 24 * time.Hour
)

// Run works until ctx ends. Trouble with the database delays it.
func (r *Retention) Run(ctx context.Context) {
	elapsed := time.Duration(0)
	for pause := settle; ; pause = lookEvery {
		ok, took := r.deps.Wait(ctx, pause)
		if !ok {
			return
		}
		elapsed = took
		if err := r.look(ctx, elapsed); err != nil && ctx.Err() == nil {
			r.metrics.failures.Inc()
			r.deps.Log.Error().Err(err).Msg("the journal could not be pruned; it is tried again")
		}
	}
}

// look prunes what can be pruned now.
func (r *Retention) look(ctx context.Context, elapsed time.Duration) error {
	now, err := r.tick(ctx, elapsed)
	if err != nil {
		return err
	}
	if r.deps.Before != nil {
		if err := r.deps.Before(ctx, now); err != nil {
			return err
		}
	}
	done, err := r.prune(ctx, now, nil)
	r.metrics.pruned(done)
	if done.Events > 0 || done.IDs > 0 {
		r.deps.Log.Info().Int64("events", done.Events).Int64("ids", done.IDs).Int64("begins", done.First).Msg("the journal was pruned")
	}
	if err != nil {
		return err
	}
	return r.report(ctx, now)
}

// report tells metrics how much there is, and the log what holds it for too long.
func (r *Retention) report(ctx context.Context, now time.Time) error {
	is, err := r.status(ctx, now)
	if err != nil {
		return err
	}
	r.metrics.report(is)
	if clock := r.deps.Now(); clock.Sub(now) > jump {
		r.warn("clock", func() {
			r.deps.Log.Warn().Time("clock", clock).Time("retention", now).
				Msg("this machine's clock is far ahead of what the journal has seen; if the hub was not down for so long, set it right: events are pruned by a slower clock meanwhile, see docs/retention.md")
		})
	}
	for _, h := range is.Holds {
		if h.Holds == 0 {
			continue
		}
		r.warn(h.By, func() {
			line := r.deps.Log.Warn().Str("by", h.By).Int64("events", h.Holds).Int64("position", h.Position)
			if h.Advice != "" {
				line = line.Str("advice", h.Advice)
			}
			line.Msg("the journal keeps events beyond journal.retain because something still needs them")
		})
	}
	return nil
}

func (r *Retention) warn(what string, say func()) {
	now := time.Now()
	if at, ok := r.warned[what]; ok && now.Sub(at) < warnEvery {
		return
	}
	r.warned[what] = now
	say()
}

func wait(ctx context.Context, d time.Duration) (ok bool, took time.Duration) {
	begin := time.Now()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, 0
	case <-timer.C:
		return true, time.Since(begin)
	}
}
