package retention

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/core/store"
)

// Status is what the journal holds, and why.
type Status struct {
	// First is the position that the journal begins with, Last that of the newest
	// event; Last is First-1 if it holds none.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// Events are those from First to Last. Failed are those that the mirror could
	// not apply, which stay until they are reapplied.
	Events int64      `json:"events"`
	Failed int64      `json:"failed"`
	Since  *time.Time `json:"since"` // when the first one was received; null: there is none
	// Bytes are those of the journal's tables and their indexes; on SQLite of the
	// whole database. FreeBytes of them are used for what comes next.
	Bytes     int64 `json:"bytes"`
	FreeBytes int64 `json:"free_bytes"`
	// Conflicts are ids that came again with another body.
	Conflicts int64 `json:"conflicts"`

	Retain    string    `json:"retain"` // a duration, or forever
	DedupeFor string    `json:"dedupe_for"`
	Clock     time.Time `json:"clock"` // what is old is told by it
	// Expired is how many events are old enough to go, where no clock was wrong;
	// Prunable is how many of them nobody needs.
	Expired  int64  `json:"expired"`
	Prunable int64  `json:"prunable"`
	Holds    []Held `json:"holds"`
}

// Held is a Hold with what it costs.
type Held struct {
	Hold
	// Holds is how many events stay because of it, or of others, though they are
	// old enough to go.
	Holds int64 `json:"holds"`
}

// Status tells what the journal holds, and why. It changes nothing.
func (r *Retention) Status(ctx context.Context) (Status, error) {
	_, now, err := r.clock(ctx, 0)
	if err != nil {
		return Status{}, err
	}
	return r.status(ctx, now)
}

func (r *Retention) status(ctx context.Context, now time.Time) (s Status, err error) {
	s = Status{Clock: now, Retain: "forever", DedupeFor: span(r.cfg.DedupeFor), Holds: []Held{}}
	db := r.deps.Store.ReadSQL()
	var received int64
	err = db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&s.First, &s.Last, &received, &s.Failed, &s.Conflicts) }, `SELECT f.first,
 COALESCE((SELECT value FROM avhub_counters WHERE name = 'journal'), 0),
 COALESCE((SELECT received_at FROM avhub_events WHERE position >= f.first ORDER BY position LIMIT 1), 0),
 (SELECT COUNT(*) FROM avhub_events WHERE failed <> ''),
 (SELECT COUNT(*) FROM avhub_seen_events WHERE conflicts > 0)
 FROM (SELECT COALESCE((SELECT value FROM avhub_counters WHERE name = 'journal_first'), 1) AS first) f`)
	if err == nil {
		err = r.bytes(ctx, &s)
	}
	if err != nil {
		return s, fmt.Errorf("look at the journal: %w", err)
	}
	s.Events = s.Last - s.First + 1
	if received > 0 {
		since := at(received)
		s.Since = &since
	}
	expired := s.First - 1
	if r.cfg.Retain > 0 {
		s.Retain = span(r.cfg.Retain)
		if expired, err = r.oldUntil(ctx, now, s.Last); err != nil {
			return s, err
		}
	}
	s.Expired = max(expired-s.First+1, 0)
	until, holds, err := r.free(ctx)
	if err != nil {
		return s, err
	}
	s.Prunable = max(min(until, expired)-s.First+1, 0)
	for _, h := range holds {
		s.Holds = append(s.Holds, Held{h, max(expired-max(h.Position, s.First-1), 0)})
	}
	slices.SortStableFunc(s.Holds, func(a, b Held) int { return int(min(max(a.Position-b.Position, math.MinInt32), math.MaxInt32)) })
	return s, nil
}

// oldUntil returns about the last position whose event is old enough to go.
func (r *Retention) oldUntil(ctx context.Context, now time.Time, last int64) (int64, error) {
	oldest := now.Add(-r.cfg.Retain)
	after, err := r.deps.Journal.Seek(ctx, oldest)
	if err != nil {
		return 0, err
	}
	until := last
	err = r.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		err := rows.Scan(&until)
		until--
		return err
	}, `SELECT position FROM avhub_events WHERE position > ? AND received_at > ? AND received_at <= ? ORDER BY position LIMIT 1`,
		after, oldest.UnixMicro(), now.UnixMicro())
	if err != nil {
		return 0, fmt.Errorf("look for what is old: %w", err)
	}
	return until, nil
}

// span is a duration for people: 90d, 36h, 1h30m.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
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

func (r *Retention) bytes(ctx context.Context, s *Status) error {
	db := r.deps.Store.ReadSQL()
	if r.deps.Store.Dialect() == store.Postgres {
		return db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&s.Bytes) },
			`SELECT pg_total_relation_size('avhub_events') + pg_total_relation_size('avhub_seen_events')`)
	}
	return db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&s.Bytes, &s.FreeBytes) },
		`SELECT page_count * page_size, freelist_count * page_size FROM pragma_page_count, pragma_page_size, pragma_freelist_count`)
}
