package journal

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/avhub/avhub/core/event"
)

// reappliedCounter counts the transactions of Reapply that changed what the
// journal says of an event.
const reappliedCounter = "journal_reapplied"

// Span returns the position that the journal begins with and that of the newest
// event that it ever held, both 0 if there never was one. It reads in the
// transaction that ctx carries.
func (j *Journal) Span(ctx context.Context) (first, last int64, err error) {
	db := j.store.SQL(ctx)
	if last, err = lastPosition(ctx, db); err != nil {
		return 0, 0, err
	}
	if last == 0 {
		return 0, 0, nil
	}
	first, err = First(ctx, j.store)
	return first, last, err
}

// Reapplied returns a number that changes whenever events that had failed were
// applied after all. It reads in the transaction that ctx carries.
func (j *Journal) Reapplied(ctx context.Context) (n int64, err error) {
	err = j.store.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&n) },
		`SELECT value FROM avhub_counters WHERE name = ?`, reappliedCounter)
	if err != nil {
		return 0, fmt.Errorf("read how often events were reapplied: %w", err)
	}
	return n, nil
}

// eachEvents are read with one query, which so ends before a limit that a
// database may set to the time of a query.
const eachEvents = 4096

// Each calls fn for the events at after < position ≤ until, in that order, with
// what they say and whether they failed, and without what they changed. It reads
// in the transaction that ctx carries, which fn must not use.
func (j *Journal) Each(ctx context.Context, after, until int64, fn func(*event.Event) error) error {
	db := j.store.SQL(ctx)
	for ; after < until; after += eachEvents {
		err := db.Query(ctx, func(rows *sql.Rows) error {
			ev, err := scanSaid(rows)
			if err != nil {
				return err
			}
			return fn(ev)
		}, `SELECT position, source, channel, body, failed FROM avhub_events WHERE position > ? AND position <= ? ORDER BY position`,
			after, min(after+eachEvents, until))
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
	}
	return nil
}

// scanSaid scans an event without what the mirror made of it.
func scanSaid(rows *sql.Rows) (*event.Event, error) {
	var position int64
	var source, channel, failed string
	var body []byte
	if err := rows.Scan(&position, &source, &channel, &body, &failed); err != nil {
		return nil, err
	}
	ev, err := event.DecodeBody(event.Channel(channel), body)
	if err != nil {
		return nil, fmt.Errorf("event at position %d is not readable; was the table changed by hand? %w", position, err)
	}
	ev.Position, ev.Source, ev.Failed = position, source, failed
	return ev, nil
}
