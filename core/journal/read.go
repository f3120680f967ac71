package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
)

// LaneHash is the number under which the events of a key (Event.TenantKey,
// Event.Subject) are indexed. Keys may share one: whoever reads by it compares
// the keys themselves.
func LaneHash(key string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key)) // a hash never fails
	return int64(h.Sum64())
}

// Slots is how many slots keys are divided among.
const Slots = 1024

// Slot is the one of the Slots, from 0, that a key belongs to.
func Slot(key string) int { return int(LaneHash(key) & (Slots - 1)) }

// Part selects the events of one partition out of several: those whose key has
// a slot with slot % Of == Index.
type Part struct {
	Lane      Lane // whose keys
	Index, Of int
}

// Lane selects the index by which a key's events are read.
type Lane int

// The lanes that the journal indexes.
const (
	TenantLane Lane = iota
	SubjectLane
)

const columns = `position, source, channel, body, received_at, key_id, signature, signed_timestamp,
 changes, changes_omitted, superseded, failed`

// Query selects events. Zero fields select everything.
type Query struct {
	After, Until int64 // positions: after < position ≤ until (0: no end)
	// Lane and Keys select the events of one key.
	Lane *Lane
	Key  string
	// Part selects the events of a partition; nil: of all.
	Part *Part

	Source   string
	Types    []string // patterns, see event.Match
	TenantID string
	Since    time.Time // by the hub's clock
	Failed   bool      // only those that the mirror could not apply
	// Conflicts selects those whose id came again with another body.
	Conflicts bool

	// Whole refuses, with ErrPruned, to pass over events that were pruned.
	Whole bool

	Newest bool // newest first
	Limit  int  // 0: 100
	// MaxBytes ends the answer early, after the event that reaches it; 0: no
	// limit.
	MaxBytes int
}

// Read returns the events that q selects, in the order of their positions.
func (j *Journal) Read(ctx context.Context, q Query) ([]*event.Event, error) {
	return j.read(ctx, j.store.ReadSQL(), q)
}

func (j *Journal) read(ctx context.Context, db store.SQL, q Query) ([]*event.Event, error) {
	if q.Limit == 0 {
		q.Limit = 100
	}
	matcher, err := event.NewMatcher(q.Types)
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if !q.Since.IsZero() && !q.Failed {
		after, err := j.Seek(ctx, q.Since)
		if err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
		q.After = max(q.After, after)
	}
	query, args := q.sql()
	var events []*event.Event
	bytes := 0
	err = db.Query(ctx, func(rows *sql.Rows) error {
		ev, err := scan(rows)
		if err != nil {
			return err
		}
		if len(q.Types) > 0 && !matcher.Match(ev.Type) {
			return nil
		}
		if q.Lane != nil && laneKey(ev, *q.Lane) != q.Key {
			return nil
		}
		events = append(events, ev)
		bytes += len(ev.Evidence.Body)
		if len(events) >= q.Limit || q.MaxBytes > 0 && bytes >= q.MaxBytes {
			return errEnough
		}
		return nil
	}, query, args...)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	if q.Whole && (len(events) == 0 || events[0].Position != q.After+1) {
		// Looked at after the events: what is there now was there then.
		first, err := first(ctx, db)
		if err == nil && first > q.After+1 {
			err = j.pruned(ctx, fmt.Sprintf("position %d", q.After+1), first)
		}
		if err != nil {
			return nil, fmt.Errorf("read the journal: %w", err)
		}
	}
	return events, nil
}

var errEnough = errors.New("enough")

func laneKey(ev *event.Event, lane Lane) string {
	if lane == TenantLane {
		return ev.TenantKey()
	}
	return ev.Subject()
}

func (q Query) sql() (string, []any) {
	var b strings.Builder
	b.WriteString(`SELECT ` + columns + ` FROM avhub_events WHERE position > ?`)
	args := []any{q.After}
	add := func(condition string, arg ...any) {
		b.WriteString(" AND " + condition)
		args = append(args, arg...)
	}
	if q.Until > 0 {
		add("position <= ?", q.Until)
	}
	if q.Lane != nil {
		add([]string{TenantLane: "tenant_lane = ?", SubjectLane: "subject_lane = ?"}[*q.Lane], LaneHash(q.Key))
	}
	if q.Part != nil {
		column := []string{TenantLane: "tenant_lane", SubjectLane: "subject_lane"}[q.Part.Lane]
		add("("+column+" & "+strconv.Itoa(Slots-1)+") % ? = ?", q.Part.Of, q.Part.Index)
	}
	if q.Source != "" {
		add("source = ?", q.Source)
	}
	if q.TenantID != "" {
		// The hash has an index, the column says it exactly.
		add("tenant_lane = ? AND tenant_id = ?", LaneHash((&event.Event{TenantID: q.TenantID}).TenantKey()), q.TenantID)
	}
	if !q.Since.IsZero() {
		add("received_at >= ?", q.Since.UnixMicro())
	}
	if q.Failed {
		add("failed <> ''")
	}
	if q.Conflicts {
		add("position IN (SELECT position FROM avhub_seen_events WHERE conflicts > 0)")
	}
	b.WriteString(" ORDER BY position")
	if q.Newest {
		b.WriteString(" DESC")
	}
	if len(q.Types) == 0 { // else the limit counts what matches
		b.WriteString(" LIMIT " + strconv.Itoa(q.Limit))
	}
	return b.String(), args
}

func scan(rows *sql.Rows) (*event.Event, error) {
	var (
		position, receivedAt           int64
		source, channel, key, ts, fail string
		body, signature, changes       []byte
		omitted                        int
		superseded                     bool
	)
	err := rows.Scan(&position, &source, &channel, &body, &receivedAt, &key, &signature, &ts,
		&changes, &omitted, &superseded, &fail)
	if err != nil {
		return nil, err
	}
	ev, err := event.DecodeBody(event.Channel(channel), body)
	if err != nil {
		return nil, fmt.Errorf("event at position %d is not readable; was the table changed by hand? %w", position, err)
	}
	ev.Position, ev.Source = position, source
	ev.ReceivedAt = time.UnixMicro(receivedAt).UTC()
	ev.Evidence = event.Evidence{KeyID: key, Signature: signature, SignedTimestamp: ts, Body: body}
	ev.ChangesOmitted, ev.Superseded, ev.Failed = omitted, superseded, fail
	if len(changes) > 0 {
		if err := json.Unmarshal(changes, &ev.Changes); err != nil {
			return nil, fmt.Errorf("changes at position %d: %w", position, err)
		}
	}
	return ev, nil
}

// ErrNotFound is returned for an event that the journal does not hold.
var ErrNotFound = errors.New("no such event")

// Found is an event with what is known beside it.
type Found struct {
	*event.Event
	// Conflicts counts later deliveries under the same id with another body.
	Conflicts int
}

// Find returns the events with the given id (several sources may use the same
// one), or the one at the given position if id is a number and no event's id.
func (j *Journal) Find(ctx context.Context, id string) ([]Found, error) {
	db := j.store.ReadSQL()
	conflicts := map[int64]int{}
	// '0' follows '/' in ASCII, so this is the range of all "id/source".
	err := db.Query(ctx, func(rows *sql.Rows) error {
		var position int64
		var n int
		if err := rows.Scan(&position, &n); err != nil {
			return err
		}
		conflicts[position] = n
		return nil
	}, `SELECT position, conflicts FROM avhub_seen_events WHERE id > ? AND id < ?`, id+"/", id+"0")
	if err != nil {
		return nil, fmt.Errorf("find event: %w", err)
	}
	if position, e := strconv.ParseInt(id, 10, 64); e == nil && len(conflicts) == 0 {
		conflicts[position] = 0
	}
	var found []Found
	for position, n := range conflicts {
		events, err := j.Read(ctx, Query{After: position - 1, Until: position})
		if err != nil {
			return nil, err
		}
		for _, ev := range events {
			if n == 0 {
				if n, err = j.conflicts(ctx, ev); err != nil {
					return nil, err
				}
			}
			found = append(found, Found{ev, n})
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	begin, err := j.First(ctx)
	if err != nil {
		return nil, err
	}
	for position := range conflicts {
		if position >= 1 && position < begin {
			return nil, j.pruned(ctx, fmt.Sprintf("event %q (position %d)", id, position), begin)
		}
	}
	return nil, fmt.Errorf("find event %q: %w", id, ErrNotFound)
}

func (j *Journal) conflicts(ctx context.Context, ev *event.Event) (n int, err error) {
	err = j.store.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&n) },
		`SELECT conflicts FROM avhub_seen_events WHERE id = ?`, seenID(ev.Source, ev.ID))
	if err != nil {
		return 0, fmt.Errorf("find event: %w", err)
	}
	return n, nil
}

// Last returns the position of the newest event; 0 if there is none.
func (j *Journal) Last(ctx context.Context) (int64, error) {
	return lastPosition(ctx, j.store.ReadSQL())
}
