package fanout

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
)

// paused is the state of a cursor whose plugin an operator has paused, once the
// calls in flight are finished; until then it is pausing.
const (
	paused  = "paused"
	pausing = "pausing"
	// quarantine is that of a plugin that is not started any more, as it crashed too
	// often.
	quarantine = string(plugin.Quarantined)
)

// moving begins the reason of a pause during which a plugin is moved to another
// place. It stays if that is interrupted.
const moving = "being moved to "

// ErrMoving: a plugin is being moved to another place, or that was interrupted.
var ErrMoving = errors.New("it is being moved to another place")

// Wish is what an operator wants of a plugin, as stored.
type Wish struct {
	Paused  bool
	Reason  string
	Restart int64 // counts wishes to start its process anew
}

func readWish(ctx context.Context, db store.SQL, name string) (w Wish, err error) {
	found := false
	err = db.Query(ctx, func(rows *sql.Rows) error {
		found = true
		return rows.Scan(&w.Paused, &w.Reason, &w.Restart)
	}, `SELECT paused, pause_reason, restart FROM avhub_plugins WHERE id = ?`, name)
	if err != nil {
		return w, fmt.Errorf("read what is wanted of plugin %s: %w", name, err)
	}
	if !found {
		return w, fmt.Errorf("%w: nothing is stored of a plugin %q; it has never been started", ErrNoPlugin, name)
	}
	return w, nil
}

// Wanted reads what an operator wants of a plugin.
func Wanted(ctx context.Context, st *store.Store, name string) (Wish, error) {
	return readWish(ctx, st.ReadSQL(), name)
}

// Pause stops deliveries to a plugin, on all hubs: calls in flight are finished,
// the place is kept, events pile up in the journal. It returns at once;
// Acknowledged tells when nothing is under way any more.
func Pause(ctx context.Context, st *store.Store, name, reason string) error {
	w, err := Wanted(ctx, st, name)
	if err != nil {
		return err
	}
	if w.Paused && strings.HasPrefix(w.Reason, moving) {
		return fmt.Errorf("pause plugin %s: %w (%s)", name, ErrMoving, w.Reason)
	}
	return setPaused(ctx, st, name, true, clean(reason))
}

// Resume ends a pause: the plugin goes on where it stopped. It also lets a plugin
// that has halted try again, with the configuration that it has, and wakes one
// that is in quarantine.
func Resume(ctx context.Context, st *store.Store, name string) error {
	w, err := Wanted(ctx, st, name)
	if err != nil {
		return err
	}
	if w.Paused && strings.HasPrefix(w.Reason, moving) {
		return fmt.Errorf("resume plugin %s: %w, or that was interrupted (%s): repeat the command that moves it", name, ErrMoving, w.Reason)
	}
	err = st.InTx(ctx, func(ctx context.Context) error {
		if err := setPaused(ctx, st, name, false, ""); err != nil {
			return err
		}
		n, err := st.SQL(ctx).Exec(ctx, `UPDATE avhub_cursors SET state = '', reason = '' WHERE plugin = ? AND state = ?`, name, halted)
		if err != nil {
			return err
		}
		var quarantined int64
		err = st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&quarantined) },
			`SELECT COUNT(*) FROM avhub_cursors WHERE plugin = ? AND state = ?`, name, quarantine)
		if err != nil || n+quarantined == 0 {
			return err
		}
		return wishRestart(ctx, st, name)
	})
	if err != nil {
		return fmt.Errorf("resume plugin %s: %w", name, err)
	}
	return nil
}

// Restart has a plugin's process drained and started anew, on every hub that
// delivers to it. It ends a quarantine, and the pause after a crash.
func Restart(ctx context.Context, st *store.Store, name string) error {
	if _, err := Wanted(ctx, st, name); err != nil {
		return err
	}
	if err := wishRestart(ctx, st, name); err != nil {
		return fmt.Errorf("restart plugin %s: %w", name, err)
	}
	return nil
}

func wishRestart(ctx context.Context, st *store.Store, name string) error {
	_, err := st.SQL(ctx).Exec(ctx, `UPDATE avhub_plugins SET restart = restart + 1, updated_at = ? WHERE id = ?`, store.Now().UnixMicro(), name)
	return err
}

func setPaused(ctx context.Context, st *store.Store, name string, is bool, reason string) error {
	_, err := st.SQL(ctx).Exec(ctx, `UPDATE avhub_plugins SET paused = ?, pause_reason = ?, updated_at = ? WHERE id = ?`,
		is, reason, store.Now().UnixMicro(), name)
	if err != nil {
		return fmt.Errorf("store a pause: %w", err)
	}
	return nil
}

// Acknowledged tells whether nothing is under way for a paused plugin: every
// partition's hub has said so, or has not been seen for long. If not, the owners
// say who has not.
func Acknowledged(ctx context.Context, st *store.Store, name string) (done bool, owners []string, err error) {
	seen := store.Now().Add(-staleAfter).UnixMicro()
	err = st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error {
		var state, owner string
		var updated int64
		if err := rows.Scan(&state, &owner, &updated); err != nil {
			return err
		}
		switch {
		case state == paused, state == halted, state == "", state == "stopped", owner == "", updated < seen:
		default:
			owners = append(owners, owner)
		}
		return nil
	}, `SELECT state, owner, updated_at FROM avhub_cursors WHERE plugin = ? ORDER BY partition`, name)
	if err != nil {
		return false, nil, fmt.Errorf("look whether plugin %s is paused: %w", name, err)
	}
	return len(owners) == 0, owners, nil
}

// AckTimeout is how long a hub may take to finish what is under way: a call's
// time limit, and some.
const AckTimeout = callTimeout + 8*time.Second

// WaitPaused waits until nothing is under way for a paused plugin.
func WaitPaused(ctx context.Context, st *store.Store, name string, limit time.Duration) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		done, owners, err := Acknowledged(ctx, st, name)
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("%s has not said within %s that its calls to plugin %s have ended; see whether it is alive, and repeat the command",
				strings.Join(owners, ", "), limit, name)
		case <-tick.C:
		}
	}
}

// Restarts turns wishes to restart a plugin's process into one restart each,
// however many of its partitions a hub serves.
type Restarts struct {
	// Do has the process drained and started anew.
	Do func(reason string)

	mu    sync.Mutex
	known bool
	last  int64
}

// see notes the counter of wishes, and acts when it has grown.
func (r *Restarts) see(counter int64) {
	r.mu.Lock()
	act := r.known && counter > r.last
	r.known, r.last = true, max(r.last, counter)
	r.mu.Unlock()
	if act {
		r.Do("an operator asked for it")
	}
}

// obey looks what operators want of the plugin.
func (c *Consumer) obey(ctx context.Context) error {
	w, err := readWish(ctx, c.deps.Store.ReadSQL(), c.cfg.Name)
	if err != nil {
		return err
	}
	if c.deps.Restarts != nil {
		c.deps.Restarts.see(w.Restart)
	}
	if w.Paused != c.paused {
		c.deps.Log.Info().Bool("paused", w.Paused).Str("reason", w.Reason).Msg("an operator has changed whether the plugin gets events")
	}
	c.paused, c.pauseReason = w.Paused, w.Reason
	return nil
}

// rest stores the place of a paused plugin, once nothing is under way.
func (c *Consumer) rest(ctx context.Context) error {
	if c.busy() || c.window.prefix == c.cursor {
		return nil
	}
	return c.commitNow(ctx)
}

// busy tells whether a call is in flight.
func (c *Consumer) busy() bool {
	return c.batches+c.runs > 0 || c.replay != nil && c.replay.flying
}

// commitNow stores the cursor, whether it is due or not.
func (c *Consumer) commitNow(ctx context.Context) error {
	c.flushed = time.Time{}
	return c.commit(ctx, &changes{})
}

// state is what the plugin is doing, as it is stored, and why.
func (c *Consumer) state() (state, reason string) {
	is := c.deps.Plugin.Status()
	switch {
	case !c.paused && c.breaker.isOpen() && is.State == plugin.Running:
		return BreakerOpen, c.breaker.String()
	case !c.paused:
		return string(is.State), cmp.Or(is.Reason, c.waitsFor())
	case c.busy() || c.window.prefix > c.cursor:
		return pausing, c.pauseReason
	}
	return paused, c.pauseReason
}
