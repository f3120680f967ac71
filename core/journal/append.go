package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
)

// positionCounter is the name of the counter that holds the last position.
const positionCounter = "journal"

func newRequest(ev *event.Event) *request {
	return &request{
		event: ev,
		id:    seenID(ev.Source, ev.ID),
		hash:  sha256.Sum256(ev.Evidence.Body),
		reply: make(chan reply, 1), // never blocks the committer
	}
}

// seenID is unambiguous because a source's name has no slash, and puts the
// event's id first so that it can be looked up without the source.
func seenID(source, id string) string { return id + "/" + source }

type seen struct {
	position int64
	hash     []byte
}

// appendGroup journals the events of group that are new, within a transaction.
func (j *Journal) appendGroup(ctx context.Context, group []*request, project func(context.Context, []*event.Event) error) ([]Receipt, error) {
	db := j.store.SQL(ctx)
	if err := j.store.TakeTurn(ctx); err != nil {
		return nil, err
	}
	known, err := j.lookUp(ctx, db, group)
	if err != nil {
		return nil, err
	}
	last, err := lastPosition(ctx, db)
	if err != nil {
		return nil, err
	}
	receipts := make([]Receipt, len(group))
	var fresh []*event.Event
	var seenRows [][]any
	now := j.now().UnixMicro()
	for i, r := range group {
		first, ok := known[r.id]
		switch {
		case !ok:
			last++
			r.event.Position = last
			known[r.id] = seen{last, r.hash[:]}
			receipts[i] = Receipt{Accepted, last}
			fresh = append(fresh, r.event)
			seenRows = append(seenRows, []any{r.id, last, r.hash[:], now, 0})
		case bytes.Equal(first.hash, r.hash[:]):
			receipts[i] = Receipt{Duplicate, first.position}
		default:
			receipts[i] = Receipt{Conflict, first.position}
		}
	}
	if len(fresh) > 0 {
		if err := project(ctx, fresh); err != nil {
			return nil, fmt.Errorf("update the mirror: %w", err)
		}
		if err := insert(ctx, db, fresh, seenRows, last); err != nil {
			return nil, err
		}
	}
	for i, r := range group {
		if receipts[i].Outcome != Conflict {
			continue
		}
		if _, err := db.Exec(ctx, `UPDATE avhub_seen_events SET conflicts = conflicts + 1 WHERE id = ?`, r.id); err != nil {
			return nil, fmt.Errorf("note a conflict: %w", err)
		}
		j.metrics.conflicts.Inc()
		j.log.Error().Str("source", r.event.Source).Str("event", r.event.ID).Int64("position", receipts[i].Position).
			Hex("sha256", r.hash[:]).
			Msg("an event came again under the same id with another body; the first one stands. Ask the provider which is right")
	}
	return receipts, nil
}

func (j *Journal) lookUp(ctx context.Context, db store.SQL, group []*request) (map[string]seen, error) {
	known := make(map[string]seen, len(group))
	ids := make([]string, 0, len(group))
	for _, r := range group {
		if _, ok := known[r.id]; !ok {
			known[r.id] = seen{}
			ids = append(ids, r.id)
		}
	}
	clear(known)
	err := db.In(ctx, func(rows *sql.Rows) error {
		var id string
		var s seen
		if err := rows.Scan(&id, &s.position, &s.hash); err != nil {
			return err
		}
		known[id] = s
		return nil
	}, `SELECT id, position, body_hash FROM avhub_seen_events WHERE id IN %s`, ids)
	if err != nil {
		return nil, fmt.Errorf("look for duplicates: %w", err)
	}
	return known, nil
}

func lastPosition(ctx context.Context, db store.SQL) (int64, error) {
	var last int64
	err := db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&last) },
		`SELECT value FROM avhub_counters WHERE name = ?`, positionCounter)
	if err != nil {
		return 0, fmt.Errorf("read the last position: %w", err)
	}
	return last, nil
}

const (
	insertSeen = `INSERT INTO avhub_seen_events (id, position, body_hash, seen_at, conflicts)`

	insertEvents = `INSERT INTO avhub_events (position, source, channel, event_id, type, tenant_id, application_id,
 occurred_at, received_at, tenant_lane, subject_lane, body, key_id, signature, signed_timestamp, changes,
 changes_omitted, superseded, failed)`

	setPosition = `INSERT INTO avhub_counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
)

func insert(ctx context.Context, db store.SQL, events []*event.Event, seenRows [][]any, last int64) error {
	rows := make([][]any, len(events))
	for i, ev := range events {
		row, err := row(ev)
		if err != nil {
			return err
		}
		rows[i] = row
	}
	if err := db.Insert(ctx, insertSeen, seenRows, ""); err != nil {
		return fmt.Errorf("insert the ids of events: %w", err)
	}
	if err := db.Insert(ctx, insertEvents, rows, ""); err != nil {
		return fmt.Errorf("insert events: %w", err)
	}
	if _, err := db.Exec(ctx, setPosition, positionCounter, last); err != nil {
		return fmt.Errorf("set the last position: %w", err)
	}
	return nil
}

func row(ev *event.Event) ([]any, error) {
	var changes []byte
	if len(ev.Changes) > 0 {
		var err error
		if changes, err = json.Marshal(ev.Changes); err != nil {
			return nil, fmt.Errorf("encode changes: %w", err)
		}
	}
	return []any{
		ev.Position, ev.Source, string(ev.Channel), ev.ID, ev.Type, ev.TenantID, ev.ApplicationID,
		ev.Time.UnixMicro(), ev.ReceivedAt.UnixMicro(),
		LaneHash(ev.TenantKey()), LaneHash(ev.Subject()),
		ev.Evidence.Body, ev.Evidence.KeyID, ev.Evidence.Signature, ev.Evidence.SignedTimestamp,
		changes, ev.ChangesOmitted, ev.Superseded, ev.Failed,
	}, nil
}
