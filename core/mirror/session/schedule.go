package session

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/avhub/avhub/core/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Deps are what a schedule works with. Zero values mean the defaults.
type Deps struct {
	Log        zerolog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	// Wait waits for a while and tells whether ctx has not ended; nil: by the
	// system's clock.
	Wait func(ctx context.Context, d time.Duration) bool
}

// Schedule calls Cleanup again and again.
type Schedule struct {
	store    *store.Store
	every    time.Duration
	opts     Options
	log      zerolog.Logger
	wait     func(context.Context, time.Duration) bool
	removed  *prometheus.CounterVec
	failures prometheus.Counter
}

const (
	// settle is how long the first run waits at most: a hub that was just
	// started has other things to do.
	settle = time.Minute
	// firstRetry is how long a run that failed waits for the next one, doubled
	// with each that fails, and never longer than usual.
	firstRetry = 10 * time.Second
)

// NewSchedule returns a schedule that removes sessions once in every; with 0,
// never.
func NewSchedule(st *store.Store, every time.Duration, opts Options, deps Deps) *Schedule {
	s := &Schedule{
		store: st, every: every, opts: opts, log: deps.Log, wait: deps.Wait,
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "avhub_sessions_removed_total", Help: "Sessions that were over and were removed.",
		}, []string{"reason"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "avhub_session_cleanup_failures_total", Help: "Removals of sessions that failed.",
		}),
	}
	if s.wait == nil {
		s.wait = wait
	}
	if deps.Registerer != nil {
		deps.Registerer.MustRegister(s.removed, s.failures)
	}
	for _, reason := range []string{"expired", "revoked"} {
		s.removed.WithLabelValues(reason) // shown from the start
	}
	return s
}

// Run works until ctx ends. Hubs on one database may all run: sessions are
// removed once, and the waits differ by chance, so that the hubs do not all look
// at once.
func (s *Schedule) Run(ctx context.Context) {
	if s.every <= 0 {
		return
	}
	pause := jitter(min(settle, s.every))
	failed := 0
	for s.wait(ctx, pause) {
		if s.once(ctx) {
			failed = 0
			pause = jitter(s.every)
			continue
		}
		pause = jitter(min(firstRetry<<min(failed, 10), s.every))
		failed++
	}
}

// jitter is d, or up to a tenth less.
func jitter(d time.Duration) time.Duration {
	if d < 10 {
		return d
	}
	return d - rand.N(d/10)
}

// once cleans up and tells whether that went well.
func (s *Schedule) once(ctx context.Context) bool {
	result, err := Cleanup(ctx, s.store, s.opts)
	s.removed.WithLabelValues("expired").Add(float64(result.Expired))
	s.removed.WithLabelValues("revoked").Add(float64(result.Revoked))
	if result.Removed() > 0 {
		s.log.Info().Int("expired", result.Expired).Int("revoked", result.Revoked).Bool("more", result.More).
			Msg("sessions that were over were removed")
	}
	if result.Unreadable > 0 {
		s.log.Warn().Int("sessions", result.Unreadable).
			Msg("sessions with times that SQLite cannot read are never removed; let your application open the database with _time_format=sqlite")
	}
	if err == nil || ctx.Err() != nil {
		return true
	}
	s.failures.Inc()
	s.log.Error().Err(err).Msg("sessions could not be removed; it is tried again")
	return false
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
