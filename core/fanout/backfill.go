package fanout

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// NeedsBackfill is the state of a plugin that the journal no longer waits for. It
// gets nothing until an operator resets it: what it missed may be gone.
const NeedsBackfill = "needs back-fill"

// lagGrace is how long a plugin may lag too far without coming nearer. One that
// catches up, such as a new one, is not let go.
const lagGrace = 10 * time.Minute

// LagLimit is how far a plugin may fall behind. Zero values are no limit.
type LagLimit struct {
	Events int64
	Time   time.Duration
}

// LagWatch lets plugins go that lag too far, so that the journal need not keep for
// them what it would never get rid of.
type LagWatch struct {
	Store   *store.Store
	Limit   LagLimit
	Log     zerolog.Logger
	Metrics *LagMetrics   // nil: none
	Grace   time.Duration // 0: ten minutes

	seen map[string]lagging
}

type lagging struct {
	lag   int64
	since time.Time // when it last came nearer
}

// LagMetrics of a LagWatch.
type LagMetrics struct{ needs *prometheus.GaugeVec }

// NewLagMetrics registers them; reg may be nil.
func NewLagMetrics(reg prometheus.Registerer) *LagMetrics {
	m := &LagMetrics{prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "avhub_delivery_needs_backfill", Help: "1 for plugins that the journal no longer waits for, until they are reset.",
	}, []string{"plugin"})}
	if reg != nil {
		reg.MustRegister(m.needs)
	}
	return m
}

// standing is where a plugin stands.
type standing struct {
	plugin     string
	position   int64 // the lowest
	last       int64 // of the journal
	waitsSince int64 // receipt of the first event beyond position
	needs      bool
}

// Look lets go whoever lags too far, by the time now. It is not safe for concurrent
// use; hubs may each have a watch.
func (w *LagWatch) Look(ctx context.Context, now time.Time) error {
	list, err := w.standings(ctx)
	if err != nil {
		return err
	}
	if w.seen == nil {
		w.seen = map[string]lagging{}
	}
	grace := w.Grace
	if grace == 0 {
		grace = lagGrace
	}
	for _, s := range list {
		if w.Metrics != nil {
			w.Metrics.needs.WithLabelValues(s.plugin).Set(map[bool]float64{true: 1}[s.needs])
		}
		lag := s.last - s.position
		before, known := w.seen[s.plugin]
		if !known || lag < before.lag || s.needs || !w.tooFar(s, now) {
			w.seen[s.plugin] = lagging{lag, time.Now()}
			continue
		}
		w.seen[s.plugin] = lagging{lag, before.since}
		if time.Since(before.since) < grace {
			continue
		}
		if err := w.letGo(ctx, s, now); err != nil {
			return err
		}
	}
	return nil
}

func (w *LagWatch) tooFar(s standing, now time.Time) bool {
	lag := s.last - s.position
	switch {
	case lag <= 0:
		return false
	case w.Limit.Events > 0 && lag > w.Limit.Events:
		return true
	}
	return w.Limit.Time > 0 && s.waitsSince > 0 && now.Sub(time.UnixMicro(s.waitsSince)) > w.Limit.Time
}

func (w *LagWatch) standings(ctx context.Context) (list []standing, err error) {
	err = w.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var s standing
		var needs int64
		err := rows.Scan(&s.plugin, &s.position, &s.last, &s.waitsSince, &needs)
		s.needs = needs > 0
		list = append(list, s)
		return err
	}, `SELECT m.plugin, m.position, COALESCE((SELECT value FROM avhub_counters WHERE name = 'journal'), 0),
 COALESCE((SELECT received_at FROM avhub_events WHERE position > m.position ORDER BY position LIMIT 1), 0),
 COALESCE((SELECT needs_backfill FROM avhub_plugins p WHERE p.id = m.plugin), 0)
 FROM (SELECT plugin, MIN(position) AS position FROM avhub_cursors GROUP BY plugin) m ORDER BY m.plugin`)
	if err != nil {
		return nil, fmt.Errorf("read how far plugins are behind: %w", err)
	}
	return list, nil
}

// letGo marks a plugin, if it has not moved since, and fences off whoever delivers to
// it: they would come to where events are missing.
func (w *LagWatch) letGo(ctx context.Context, s standing, now time.Time) error {
	bounded, cancel := w.Store.Bound(ctx, store.Patience)
	defer cancel()
	marked := false
	err := w.Store.InTx(bounded, func(ctx context.Context) error {
		marked = false
		// Alone among those who prune or move cursors back.
		if _, err := journal.Hold(ctx, w.Store); err != nil {
			return err
		}
		db := w.Store.SQL(ctx)
		still, err := db.Exec(ctx, `UPDATE avhub_cursors SET epoch = epoch + 1 WHERE plugin = ? AND position = ?`, s.plugin, s.position)
		if err != nil || still == 0 {
			return err
		}
		if _, err := db.Exec(ctx, `UPDATE avhub_cursors SET epoch = epoch + 1 WHERE plugin = ? AND position <> ?`, s.plugin, s.position); err != nil {
			return err
		}
		if _, err := db.Exec(ctx, `UPDATE avhub_cursors SET state = ?, reason = ? WHERE plugin = ?`,
			NeedsBackfill, backfillReason, s.plugin); err != nil {
			return err
		}
		n, err := db.Exec(ctx, `UPDATE avhub_plugins SET needs_backfill = ?, updated_at = ? WHERE id = ? AND needs_backfill = 0`,
			now.UnixMicro(), now.UnixMicro(), s.plugin)
		marked = n > 0
		return err
	})
	if err != nil {
		return fmt.Errorf("let plugin %s go: %w", s.plugin, err)
	}
	if marked {
		if w.Metrics != nil {
			w.Metrics.needs.WithLabelValues(s.plugin).Set(1)
		}
		w.Log.Error().Str("plugin", s.plugin).Int64("position", s.position).Int64("lag", s.last-s.position).
			Msg("the plugin lags further than journal.max_lag and is let go: it gets no more events, and those that it lacks may be pruned; " + backfillReason)
	}
	return nil
}

const backfillReason = "it lagged further than journal.max_lag; see why, then: avhub plugin reset"

// waitBackfill waits while the plugin is let go. Whoever resets it fences this
// consumer off, so that the next one begins where it has to.
func (c *Consumer) waitBackfill(ctx context.Context) error {
	for {
		if !c.lease.held() {
			return ErrFenced
		}
		var needs int64
		read := func(ctx context.Context) error {
			if err := c.checkOwner(ctx); err != nil {
				return err
			}
			return c.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&needs) },
				`SELECT needs_backfill FROM avhub_plugins WHERE id = ?`, c.cfg.Name)
		}
		if err := c.persist(ctx, "see whether the plugin needs a back-fill", read); err != nil {
			return err
		}
		if needs == 0 {
			return nil
		}
		if now := c.deps.Now(); now.Sub(c.seen) >= beatEvery {
			if err := c.writeStatus(ctx, NeedsBackfill, backfillReason); err == nil {
				c.seen = now
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}
