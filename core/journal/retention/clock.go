package retention

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/store"
)

// What is old is told by a clock of retention's own, because a wall clock may jump
// ahead, and everything would be old at once. It is stored, and follows the wall
// clock, but when that has jumped no faster than a few times the time that really
// passes. After a hub was down for a week that takes some two days, in which less is
// pruned than might be. After a clock has jumped ahead by a year nothing is lost
// before somebody has read the warnings.
const (
	// clockCounter is the name of the counter that holds the clock, in Unix
	// microseconds.
	clockCounter = "journal_clock"
	// catchUp is how many times as fast as time it goes.
	catchUp = 4
	// jump is what a wall clock may be ahead without being doubted.
	jump = time.Hour
)

// advance is the clock's next value, and the time to go by, which is never later
// than the wall clock's. stored is the last value, zero if there is none; newest is
// when the newest event was received, zero if there is none; elapsed is what passed
// since the last look.
func advance(stored, newest, wall time.Time, elapsed time.Duration) (next, now time.Time) {
	if stored.IsZero() {
		if stored = newest; stored.IsZero() {
			return wall, wall // nothing is there to be lost
		}
	}
	next = wall
	switch off := wall.Sub(stored); {
	case off > jump+elapsed:
		next = earlier(stored.Add(catchUp*elapsed), wall)
	case off < -jump:
		// Either it is slow now, or it was fast before: then so is what was stored.
		next = later(stored.Add(-catchUp*elapsed), wall)
	}
	return next, earlier(next, wall)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// tick moves the clock on and returns it.
func (r *Retention) tick(ctx context.Context, elapsed time.Duration) (now time.Time, err error) {
	bounded, cancel := r.deps.Store.Bound(ctx, store.Patience)
	defer cancel()
	err = r.deps.Store.InTx(bounded, func(ctx context.Context) error {
		next, is, err := r.clock(ctx, elapsed)
		if err != nil {
			return err
		}
		now = is
		_, err = r.deps.Store.SQL(ctx).Exec(ctx,
			`INSERT INTO avhub_counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
			clockCounter, next.UnixMicro())
		return err
	})
	if err != nil {
		return now, fmt.Errorf("move the journal's clock on: %w", err)
	}
	return now, nil
}

// clock tells the clock's next value, and the time to go by, after elapsed has
// passed.
func (r *Retention) clock(ctx context.Context, elapsed time.Duration) (next, now time.Time, err error) {
	db := r.deps.Store.SQL(ctx)
	var stored, newest int64
	err = db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&stored) },
		`SELECT value FROM avhub_counters WHERE name = ?`, clockCounter)
	if err == nil && stored == 0 {
		err = db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&newest) },
			`SELECT received_at FROM avhub_events ORDER BY position DESC LIMIT 1`)
	}
	if err != nil {
		return next, now, fmt.Errorf("read the journal's clock: %w", err)
	}
	next, now = advance(at(stored), at(newest), r.deps.Now(), elapsed)
	return next, now, nil
}

func at(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
