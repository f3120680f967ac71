package fanout

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/store"
)

// Start is a place in the log from which a plugin gets events.
type Start struct {
	kind string
	time time.Time
	at   int64
}

// The words for starts.
const (
	beginning = "beginning"
	rightNow  = "now"
	snapshot  = "snapshot"
	moment    = "time"
	position  = "position"
)

// The starts that need no number.
var (
	StartBeginning = Start{kind: beginning} // everything that the journal holds
	StartNow       = Start{kind: rightNow}  // what comes from now on
	StartSnapshot  = Start{kind: snapshot}  // the mirror as it stands, then the log
)

// StartTime is what was received at or after a time, by the hub's clock.
func StartTime(t time.Time) Start { return Start{kind: moment, time: t} }

// StartAfter is what stands beyond a position.
func StartAfter(p int64) Start { return Start{kind: position, at: p} }

// ErrStart: a text names no start.
var ErrStart = errors.New("want beginning, now, snapshot or a time such as 2026-01-31T08:00:00Z")

// ParseStart reads "beginning", "now", "snapshot" or a time as RFC 3339; empty is
// the beginning.
func ParseStart(text string) (Start, error) {
	switch text {
	case "", beginning:
		return StartBeginning, nil
	case rightNow:
		return StartNow, nil
	case snapshot:
		return StartSnapshot, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return Start{}, ErrStart
	}
	return StartTime(t), nil
}

// String is how the start is written.
func (s Start) String() string {
	switch s.kind {
	case "":
		return beginning
	case moment:
		return s.time.UTC().Format(time.RFC3339)
	case position:
		return fmt.Sprintf("position %d", s.at)
	}
	return s.kind
}

// resolve returns the position beyond which a start begins. It runs in a
// transaction, and keeps the journal from being pruned until that ends.
func (s Start) resolve(ctx context.Context, st *store.Store, j Seeker) (int64, error) {
	first, err := journal.Hold(ctx, st)
	if err != nil {
		return 0, err
	}
	var last int64
	err = st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&last) },
		`SELECT value FROM avhub_counters WHERE name = 'journal'`)
	if err != nil {
		return 0, fmt.Errorf("read the journal's last position: %w", err)
	}
	switch s.kind {
	case rightNow, snapshot:
		return last, nil
	case position:
		if s.at > last {
			return 0, fmt.Errorf("position %d is not in the journal yet, which ends at %d", s.at, last)
		}
		if s.at < first-1 {
			return 0, fmt.Errorf("position %d: %w: the journal begins at %d", s.at, journal.ErrPruned, first)
		}
		return s.at, nil
	case moment:
		after, err := j.Seek(ctx, s.time)
		if err != nil {
			return 0, err
		}
		// Seek stops a little early.
		found := last + 1
		err = st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&found) },
			`SELECT position FROM avhub_events WHERE position > ? AND received_at >= ? ORDER BY position LIMIT 1`, after, s.time.UnixMicro())
		if err != nil {
			return 0, fmt.Errorf("look for a time in the journal: %w", err)
		}
		return found - 1, nil
	}
	return first - 1, nil
}

// begin notes the place of a plugin that is new to the database, once for all of
// its partitions.
func begin(ctx context.Context, st *store.Store, j Seeker, name string, partitions int, start Start) error {
	at, err := start.resolve(ctx, st, j)
	if err != nil {
		return fmt.Errorf("start plugin %s at %s: %w", name, start, err)
	}
	if _, err := st.SQL(ctx).Exec(ctx, `UPDATE avhub_plugins SET start_position = ? WHERE id = ?`, at, name); err != nil {
		return fmt.Errorf("store where plugin %s starts: %w", name, err)
	}
	if start == StartSnapshot {
		return startSnapshot(ctx, st, name, partitions, at)
	}
	return nil
}

// startSnapshot stores the wish for a snapshot that goes before everything beyond
// a position.
func startSnapshot(ctx context.Context, st *store.Store, plugin string, partitions int, at int64) error {
	r := Replay{Plugin: plugin, Kind: ReplaySnapshot, State: ReplayRunning, After: at, Until: at, Partitions: partitions}
	if err := insertReplay(ctx, st, &r); err != nil {
		return fmt.Errorf("store the snapshot of plugin %s: %w", plugin, err)
	}
	return nil
}

// storeDescription keeps what the plugin gets and remembers, for those who look at the database.
func (c *Consumer) storeDescription(ctx context.Context) error {
	types, err := json.Marshal(c.types)
	if err != nil {
		return fmt.Errorf("encode the plugin's events: %w", err)
	}
	_, err = c.deps.Store.SQL(ctx).Exec(ctx, `UPDATE avhub_plugins SET events = ?, ordering = ?, state_schema = ? WHERE id = ?`,
		types, string(c.order), c.stateSchema, c.cfg.Name)
	if err != nil {
		return fmt.Errorf("store what the plugin gets: %w", err)
	}
	return nil
}
