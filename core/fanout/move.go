package fanout

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/avhub/avhub/core/store"
)

// Move brings a plugin to another place of the log.
type Move struct {
	Plugin string
	To     Start
	// Reset also forgets what is known of its deliveries: blocked lanes, dead
	// letters, and what the plugin remembers, unless KeepState.
	Reset     bool
	KeepState bool
	// Patience bounds the wait for calls in flight; 0: AckTimeout.
	Patience time.Duration
	// Progress, if set, is told how many rows are done.
	Progress func(done, total int64)
}

// Moved is what a move does, or has done.
type Moved struct {
	Plugin string `json:"plugin"`
	From   int64  `json:"from"` // the least position of its partitions
	To     int64  `json:"to"`
	// Passed are events of the journal that it will not get, Again those that it
	// gets once more; of all types.
	Passed int64 `json:"passed"`
	Again  int64 `json:"again"`
	// Forgotten.
	States      int64 `json:"states"`
	Lanes       int64 `json:"blocked_lanes"`
	DeadLetters int64 `json:"dead_letters"`
	// Replays that end, as their range is another place now.
	Replays  int64 `json:"replays"`
	Snapshot bool  `json:"snapshot"`

	furthest int64 // position of its partitions
}

// Plan tells what the move would do.
func (m Move) Plan(ctx context.Context, st *store.Store, j Seeker) (Moved, error) {
	if _, err := Wanted(ctx, st, m.Plugin); err != nil {
		return Moved{}, err
	}
	var out Moved
	err := st.InTx(ctx, func(ctx context.Context) (err error) { out, err = m.plan(ctx, st, j); return err })
	if err != nil {
		return out, fmt.Errorf("move plugin %s to %s: %w", m.Plugin, m.To, err)
	}
	return out, nil
}

func (m Move) plan(ctx context.Context, st *store.Store, j Seeker) (Moved, error) {
	out := Moved{Plugin: m.Plugin, Snapshot: m.To == StartSnapshot}
	db := st.SQL(ctx)
	count := func(n *int64, query string, args ...any) error {
		return db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(n) }, query, args...)
	}
	err := db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&out.From, &out.furthest) },
		`SELECT COALESCE(MIN(position), 0), COALESCE(MAX(position), 0) FROM avhub_cursors WHERE plugin = ?`, m.Plugin)
	if err == nil {
		out.To, err = m.To.resolve(ctx, st, j)
	}
	if err == nil && (m.Reset || out.back()) {
		err = count(&out.Replays, `SELECT COUNT(*) FROM avhub_replays WHERE plugin = ? AND state = ?`, m.Plugin, ReplayRunning)
	}
	if err == nil && m.Reset {
		err = count(&out.Lanes, `SELECT COUNT(*) FROM avhub_lanes WHERE plugin = ?`, m.Plugin)
		if err == nil {
			err = count(&out.DeadLetters, `SELECT COUNT(*) FROM avhub_dead_letters WHERE plugin = ?`, m.Plugin)
		}
		if err == nil && !m.KeepState {
			w := statesOf(m.Plugin, "")
			err = count(&out.States, `SELECT COUNT(*) FROM avhub_plugin_states WHERE `+w.String(), w.args...)
		}
	}
	out.Passed, out.Again = max(out.To-out.From, 0), max(out.furthest-out.To, 0)
	return out, err
}

// back tells whether events come again.
func (m Moved) back() bool { return m.To < m.furthest }

// statesOf selects what a plugin remembers for keys that begin with prefix.
func statesOf(plugin, prefix string) (w clause) {
	w.and("id LIKE ? ESCAPE '!'", likeEscape(plugin+"/"+prefix)+"%")
	return w
}

// Do moves the plugin. It pauses it, waits until nothing is under way, changes
// rows in small steps, and lets the plugin go on at its new place in one
// transaction; a plugin that was paused stays paused, unless it is not a reset.
// When Do fails halfway, the plugin stays paused, with a reason that says so, and
// the same call again does the rest.
func (m Move) Do(ctx context.Context, st *store.Store, j Seeker) (Moved, error) {
	wrap := func(err error) error { return fmt.Errorf("move plugin %s to %s: %w", m.Plugin, m.To, err) }
	was, err := Wanted(ctx, st, m.Plugin)
	if err != nil {
		return Moved{}, err
	}
	out, err := m.Plan(ctx, st, j) // refuses what cannot be, before anything is changed
	if err != nil {
		return out, err
	}
	interrupted := strings.HasPrefix(was.Reason, moving)
	if err := setPaused(ctx, st, m.Plugin, true, moving+m.To.String()); err != nil {
		return out, wrap(err)
	}
	patience := m.Patience
	if patience == 0 {
		patience = AckTimeout
	}
	if err := WaitPaused(ctx, st, m.Plugin, patience); err != nil {
		if !interrupted { // nothing has been changed: as it was
			_ = setPaused(context.WithoutCancel(ctx), st, m.Plugin, was.Paused, was.Reason)
		}
		return out, wrap(err)
	}
	if out, err = m.forget(ctx, st, j); err != nil {
		return out, wrap(err)
	}
	err = st.InTx(ctx, func(ctx context.Context) error {
		ready, owners, err := Acknowledged(ctx, st, m.Plugin)
		if err != nil {
			return err
		}
		if !ready {
			return fmt.Errorf("%s has begun to deliver meanwhile; repeat the command", strings.Join(owners, ", "))
		}
		if out.To, err = m.To.resolve(ctx, st, j); err != nil {
			return err
		}
		if err := m.place(ctx, st, out); err != nil {
			return err
		}
		if m.Reset && was.Paused && !interrupted {
			return setPaused(ctx, st, m.Plugin, true, was.Reason)
		}
		return setPaused(ctx, st, m.Plugin, false, "")
	})
	if err != nil {
		return out, wrap(err)
	}
	return out, nil
}

// forget changes the rows that are many, a few at a time.
func (m Move) forget(ctx context.Context, st *store.Store, j Seeker) (Moved, error) {
	out, err := m.Plan(ctx, st, j)
	if err != nil {
		return out, err
	}
	var done int64
	total := out.States + out.Lanes + out.DeadLetters
	did := func(n int64) {
		done += n
		if m.Progress != nil {
			m.Progress(done, max(total, done))
		}
	}
	var mine clause
	mine.and("plugin = ?", m.Plugin)
	if m.Reset {
		if err := inChunks(ctx, st, "avhub_lanes", mine, "", Pace{}, `DELETE FROM avhub_lanes WHERE `, did); err != nil {
			return out, fmt.Errorf("delete lanes: %w", err)
		}
		if err := inChunks(ctx, st, "avhub_dead_letters", mine, int64(0), Pace{}, `DELETE FROM avhub_dead_letters WHERE `, did); err != nil {
			return out, fmt.Errorf("delete dead letters: %w", err)
		}
	}
	states := statesOf(m.Plugin, "")
	if m.Reset && !m.KeepState {
		if err := inChunks(ctx, st, "avhub_plugin_states", states, "", Pace{}, `DELETE FROM avhub_plugin_states WHERE `, did); err != nil {
			return out, fmt.Errorf("delete states: %w", err)
		}
		return out, nil
	}
	// A key is settled up to the position in its state: events that are to come
	// again must not look settled.
	states.and("position > ?", out.To)
	set := fmt.Sprintf(`UPDATE avhub_plugin_states SET position = %d WHERE `, out.To)
	if err := inChunks(ctx, st, "avhub_plugin_states", states, "", Pace{}, set, did); err != nil {
		return out, fmt.Errorf("change states: %w", err)
	}
	return out, nil
}

// place moves the cursors, and fences whoever works from the old ones.
func (m Move) place(ctx context.Context, st *store.Store, out Moved) error {
	db := st.SQL(ctx)
	floors := "" // of former divisions: what they had settled beyond the cursor
	if m.Reset || out.back() {
		floors = ", floors = NULL"
	}
	_, err := db.Exec(ctx, `UPDATE avhub_cursors SET position = ?, epoch = epoch + 1, owner = '', expires_at = 0, state = '', reason = ''`+floors+` WHERE plugin = ?`, out.To, m.Plugin)
	if err == nil {
		_, err = db.Exec(ctx, `UPDATE avhub_plugins SET start_position = ?, needs_backfill = 0 WHERE id = ?`, out.To, m.Plugin)
	}
	if err == nil && out.back() {
		_, err = db.Exec(ctx, `UPDATE avhub_lanes SET head = ?, attempts = 0, since = 0, next_at = 0, discard = 0 WHERE plugin = ? AND head > ?`,
			out.To+1, m.Plugin, out.To)
	}
	if err == nil && (m.Reset || out.back()) {
		_, err = db.Exec(ctx, `UPDATE avhub_replays SET state = ?, reason = ?, finished_at = ? WHERE plugin = ? AND state = ?`,
			ReplayCancelled, "the plugin was moved to "+m.To.String(), store.Now().UnixMicro(), m.Plugin, ReplayRunning)
	}
	if err == nil && out.Snapshot {
		var partitions int
		err = db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&partitions) },
			`SELECT partitions FROM avhub_plugins WHERE id = ?`, m.Plugin)
		if err == nil {
			err = startSnapshot(ctx, st, m.Plugin, partitions, out.To)
		}
	}
	if err != nil {
		return fmt.Errorf("store the new place: %w", err)
	}
	return nil
}
