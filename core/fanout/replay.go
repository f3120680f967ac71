package fanout

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
)

// The kinds of replays.
const (
	ReplayEvents   = "events"   // events of the journal, again
	ReplaySnapshot = "snapshot" // the mirror as it stands, before the log goes on
)

// The states of replays.
const (
	ReplayRunning   = "running"
	ReplayDone      = "done"
	ReplayCancelled = "cancelled"
	ReplayFailed    = "failed"
)

// DefaultReplayRate is how many events a replay delivers in a second when nobody
// says otherwise: few enough that live deliveries do not notice.
const DefaultReplayRate = 200

// ErrNoPlugin: no plugin of that name has ever been started on this database.
var ErrNoPlugin = errors.New("no such plugin")

// ErrNoReplay: there is no replay of that number.
var ErrNoReplay = errors.New("no such replay")

// Replay is a wish that a plugin gets events again, and how far it has come. The
// hubs that deliver to the plugin fulfil it beside the live deliveries.
type Replay struct {
	ID     int64  `json:"id"`
	Plugin string `json:"plugin"`
	Kind   string `json:"kind"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// After < position ≤ Until. Of a snapshot, Until is where the log goes on.
	After int64 `json:"after"`
	Until int64 `json:"until"`
	// Since ≤ the hub's clock at the receipt < Before; zero: no bound.
	Since  time.Time `json:"since,omitzero"`
	Before time.Time `json:"before,omitzero"`
	Types  []string  `json:"types,omitempty"` // patterns; none: all that the plugin gets
	Tenant string    `json:"tenant,omitempty"`
	Key    string    `json:"key,omitempty"`
	Rate   int       `json:"rate"` // events in a second; 0: no limit

	Partitions int       `json:"partitions"`
	CreatedAt  time.Time `json:"created_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`

	Counts ReplayCounts `json:"counts"`
	// Position is the least that a partition has settled everything up to.
	Position int64 `json:"position"`
}

// ReplayCounts are what became of a replay's events.
type ReplayCounts struct {
	Applied int64 `json:"applied"`
	Skipped int64 `json:"skipped"`
	Failed  int64 `json:"failed"` // became dead letters
	// Deferred were left to the live deliveries, which have them still to come.
	Deferred int64 `json:"deferred"`
}

// Total is how many events are settled.
func (c ReplayCounts) Total() int64 { return c.Applied + c.Skipped + c.Failed + c.Deferred }

func (r *Replay) matcher() (event.Matcher, error) {
	if len(r.Types) == 0 {
		return event.NewMatcher([]string{"*"})
	}
	return event.NewMatcher(r.Types)
}

// selects tells whether an event is one of the replay's, its position and the
// plugin's own types apart.
func (r *Replay) selects(ev *event.Event, key string, types event.Matcher) bool {
	switch {
	case r.Tenant != "" && ev.TenantID != r.Tenant,
		r.Key != "" && key != r.Key,
		!r.Since.IsZero() && ev.ReceivedAt.Before(r.Since),
		!r.Before.IsZero() && !ev.ReceivedAt.Before(r.Before):
		return false
	}
	return types.Match(ev.Type)
}

// StartReplay stores a replay of events; Plugin, the range and the filters are
// taken from r. It never reaches beyond what the plugin has live behind it: Until
// is cut to that, and events that were pruned are not in it. It returns the
// replay as stored.
func StartReplay(ctx context.Context, st *store.Store, j Seeker, r Replay) (Replay, error) {
	r, err := boundReplay(ctx, st, j, r)
	if err != nil {
		return r, err
	}
	err = st.InTx(ctx, func(ctx context.Context) error { return insertReplay(ctx, st, &r) })
	if err != nil {
		return r, fmt.Errorf("start a replay for plugin %s: %w", r.Plugin, err)
	}
	return r, nil
}

// Seeker finds the place of a time in the journal.
type Seeker interface {
	Seek(ctx context.Context, since time.Time) (after int64, err error)
	First(ctx context.Context) (int64, error)
	Last(ctx context.Context) (int64, error)
}

var _ Seeker = (*journal.Journal)(nil)

// boundReplay checks a replay and cuts its range to what there is.
func boundReplay(ctx context.Context, st *store.Store, j Seeker, r Replay) (Replay, error) {
	if _, err := r.matcher(); err != nil {
		return r, fmt.Errorf("types of a replay: %w", err)
	}
	var cursors int
	var position int64
	err := st.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&cursors, &position) },
		`SELECT COUNT(*), COALESCE(MIN(position), 0) FROM avhub_cursors WHERE plugin = ?`, r.Plugin)
	if err != nil {
		return r, fmt.Errorf("read cursors: %w", err)
	}
	if cursors == 0 {
		return r, fmt.Errorf("%w: nothing is stored of a plugin %q; it has never been started", ErrNoPlugin, r.Plugin)
	}
	if r.Until == 0 || r.Until > position {
		r.Until = position
	}
	first, err := j.First(ctx)
	if err != nil {
		return r, err
	}
	r.After = max(r.After, first-1)
	if !r.Since.IsZero() {
		after, err := j.Seek(ctx, r.Since)
		if err != nil {
			return r, err
		}
		r.After = max(r.After, after)
	}
	r.After = min(r.After, r.Until)
	r.Kind, r.State, r.Partitions = ReplayEvents, ReplayRunning, cursors
	return r, nil
}

func insertReplay(ctx context.Context, st *store.Store, r *Replay) error {
	types, err := json.Marshal(r.Types)
	if err != nil {
		return fmt.Errorf("encode types: %w", err)
	}
	if len(r.Types) == 0 {
		types = nil
	}
	r.CreatedAt = store.Now()
	return st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&r.ID) },
		`INSERT INTO avhub_replays (plugin, kind, state, after, until, since, before, types, tenant, key, rate, partitions, created_at)
 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
		r.Plugin, r.Kind, r.State, r.After, r.Until, micros(r.Since), micros(r.Before), types, r.Tenant, r.Key, r.Rate, r.Partitions, r.CreatedAt.UnixMicro())
}

// CountReplay tells how many events a replay would deliver, by type. It counts
// events that it would leave to live deliveries, too.
func CountReplay(ctx context.Context, st *store.Store, j Seeker, r Replay) (Replay, map[string]int64, error) {
	r, err := boundReplay(ctx, st, j, r)
	if err != nil {
		return r, nil, err
	}
	is, err := describedPlugin(ctx, st, r.Plugin)
	if err != nil {
		return r, nil, err
	}
	matcher, err := r.matcher()
	if err != nil {
		return r, nil, err
	}
	var w clause
	if r.Tenant != "" {
		w.and("tenant_lane = ? AND tenant_id = ?", journal.LaneHash((&event.Event{TenantID: r.Tenant}).TenantKey()), r.Tenant)
	}
	if r.Key != "" && is.order != plugin.Total {
		w.and(is.column()+" = ?", journal.LaneHash(r.Key))
	}
	if !r.Since.IsZero() {
		w.and("received_at >= ?", r.Since.UnixMicro())
	}
	if !r.Before.IsZero() {
		w.and("received_at < ?", r.Before.UnixMicro())
	}
	counts, err := countTypes(ctx, st, w, r.After, r.Until)
	for typ := range counts {
		if !matcher.Match(typ) || !is.matcher.Match(typ) {
			delete(counts, typ)
		}
	}
	return r, counts, err
}

// countStep positions are counted by one query: a database may limit its time.
const countStep = 200_000

// countTypes counts the events of each type at after < position ≤ until.
func countTypes(ctx context.Context, st *store.Store, w clause, after, until int64) (map[string]int64, error) {
	counts := map[string]int64{}
	for ; after < until; after += countStep {
		args := append([]any{after, min(after+countStep, until)}, w.args...)
		err := st.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
			var typ string
			var n int64
			err := rows.Scan(&typ, &n)
			counts[typ] += n
			return err
		}, `SELECT type, COUNT(*) FROM avhub_events WHERE position > ? AND position <= ? AND `+w.String()+` GROUP BY type`, args...)
		if err != nil {
			return nil, fmt.Errorf("count events: %w", err)
		}
	}
	return counts, nil
}

// described is what a plugin last said of itself.
type described struct {
	types   []string
	matcher event.Matcher
	order   plugin.Order
}

// column is that of the journal's index of the plugin's keys.
func (d described) column() string {
	if d.order == plugin.PerSubject {
		return "subject_lane"
	}
	return "tenant_lane"
}

func describedPlugin(ctx context.Context, st *store.Store, name string) (d described, err error) {
	found := false
	var raw []byte
	err = st.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(&raw, &d.order)
	}, `SELECT events, ordering FROM avhub_plugins WHERE id = ?`, name)
	switch {
	case err != nil:
		return d, fmt.Errorf("read plugin %s: %w", name, err)
	case !found:
		return d, fmt.Errorf("%w: nothing is stored of a plugin %q; it has never been started", ErrNoPlugin, name)
	case len(raw) == 0:
		return d, fmt.Errorf("which events plugin %s gets is not known yet: %w", name, ErrUndescribed)
	}
	if err := json.Unmarshal(raw, &d.types); err != nil {
		return d, fmt.Errorf("read the events of plugin %s: %w", name, err)
	}
	if d.matcher, err = event.NewMatcher(d.types); err != nil {
		return d, fmt.Errorf("read the events of plugin %s: %w", name, err)
	}
	return d, nil
}

const replayColumns = `id, plugin, kind, state, reason, after, until, since, before, types, tenant, key, rate, partitions, created_at, finished_at`

// Replays lists replays, newest first: those of a plugin, or all of them; running
// ones alone if asked for. limit 0 means 100.
func Replays(ctx context.Context, st *store.Store, plugin string, running bool, limit int) ([]Replay, error) {
	var w clause
	if plugin != "" {
		w.and("plugin = ?", plugin)
	}
	if running {
		w.and("state = ?", ReplayRunning)
	}
	if limit == 0 {
		limit = 100
	}
	return readReplays(ctx, st, w.String()+` ORDER BY id DESC LIMIT `+strconv.Itoa(limit), w.args...)
}

// FindReplay returns one replay; ErrNoReplay if there is none of that number.
func FindReplay(ctx context.Context, st *store.Store, id int64) (Replay, error) {
	list, err := readReplays(ctx, st, `id = ?`, id)
	if err == nil && len(list) == 0 {
		return Replay{}, fmt.Errorf("%w: %d", ErrNoReplay, id)
	}
	if err != nil {
		return Replay{}, err
	}
	return list[0], nil
}

func readReplays(ctx context.Context, st *store.Store, where string, args ...any) ([]Replay, error) {
	list := []Replay{}
	err := st.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		r, err := scanReplay(rows)
		list = append(list, r)
		return err
	}, `SELECT `+replayColumns+` FROM avhub_replays WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read replays: %w", err)
	}
	for i := range list {
		if err := list[i].addUp(ctx, st); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func scanReplay(rows *sql.Rows) (Replay, error) {
	var r Replay
	var since, before, created, finished int64
	var types []byte
	err := rows.Scan(&r.ID, &r.Plugin, &r.Kind, &r.State, &r.Reason, &r.After, &r.Until, &since, &before, &types, &r.Tenant, &r.Key,
		&r.Rate, &r.Partitions, &created, &finished)
	if err != nil {
		return r, err
	}
	r.Since, r.Before, r.CreatedAt, r.FinishedAt = fromMicros(since), fromMicros(before), fromMicros(created), fromMicros(finished)
	if len(types) > 0 {
		if err := json.Unmarshal(types, &r.Types); err != nil {
			return r, fmt.Errorf("types of replay %d: %w", r.ID, err)
		}
	}
	return r, nil
}

func fromMicros(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.UnixMicro(at).UTC()
}

// addUp adds what the partitions have done.
func (r *Replay) addUp(ctx context.Context, st *store.Store) error {
	parts, done := 0, 0
	r.Position = r.After
	err := st.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		return rows.Scan(&parts, &done, &r.Position, &r.Counts.Applied, &r.Counts.Skipped, &r.Counts.Failed, &r.Counts.Deferred)
	}, `SELECT COUNT(*), COALESCE(SUM(CASE WHEN done THEN 1 ELSE 0 END), 0), COALESCE(MIN(position), 0), COALESCE(SUM(applied), 0),
 COALESCE(SUM(skipped), 0), COALESCE(SUM(failed), 0), COALESCE(SUM(deferred), 0) FROM avhub_replay_parts WHERE replay = ?`, r.ID)
	if err != nil {
		return fmt.Errorf("read the progress of replay %d: %w", r.ID, err)
	}
	if parts < r.Partitions {
		r.Position = r.After // one has not begun
	}
	if r.State == ReplayRunning && done >= r.Partitions {
		r.State = ReplayDone // its row says so in a moment
	}
	return nil
}

// CancelReplay ends a replay: what it has delivered stays delivered, calls in
// flight are finished. A snapshot cannot be cancelled, as the log waits for it:
// reset the plugin to another place instead.
func CancelReplay(ctx context.Context, st *store.Store, id int64) (Replay, error) {
	r, err := FindReplay(ctx, st, id)
	if err != nil {
		return r, err
	}
	if r.Kind == ReplaySnapshot && r.State == ReplayRunning {
		return r, fmt.Errorf("replay %d is the snapshot that plugin %s starts with; reset the plugin to beginning, now or a time instead", id, r.Plugin)
	}
	n, err := st.SQL(ctx).Exec(ctx, `UPDATE avhub_replays SET state = ?, finished_at = ? WHERE id = ? AND state = ?`,
		ReplayCancelled, store.Now().UnixMicro(), id, ReplayRunning)
	if err != nil {
		return r, fmt.Errorf("cancel replay %d: %w", id, err)
	}
	if n == 0 {
		return r, fmt.Errorf("replay %d is %s already", id, r.State)
	}
	return FindReplay(ctx, st, id)
}
