package fanout

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/avhub/avhub/core/store"
)

// halted is the state of a cursor whose plugin must not be started.
const halted = "halted"

func (ch *changes) empty() bool {
	return len(ch.states) == 0 && len(ch.lanes) == 0 && len(ch.letters) == 0 && len(ch.retried) == 0 && len(ch.gone) == 0 && ch.replay == nil &&
		ch.freed == "" && ch.status == "" && len(ch.ahead) == 0 && len(ch.unparked) == 0 && ch.breaker == nil && !ch.wished
}

// commit writes changes and the cursor in one transaction, if this hub still
// owns the plugin's deliveries.
func (c *Consumer) commit(ctx context.Context, ch *changes) error {
	now := c.deps.Now()
	prefix := c.window.prefix
	due := prefix > c.cursor && (prefix-c.cursor >= c.limits.flushEvents || now.Sub(c.flushed) >= flushEvery)
	if ch.empty() && !due {
		c.observe(ch)
		return nil
	}
	err := c.inTx(ctx, func(ctx context.Context) error { return c.write(ctx, ch, prefix, now) })
	if err != nil {
		return err
	}
	c.cursor, c.flushed, c.seen = prefix, now, now
	c.floors = c.floors.above(prefix)
	if ch.replay != nil {
		c.replayStored(ch.replay, now)
	}
	c.observe(ch)
	return nil
}

func (c *Consumer) write(ctx context.Context, ch *changes, prefix int64, now time.Time) error {
	db := c.deps.Store.SQL(ctx)
	set, args := `position = ?, updated_at = ?`, []any{prefix, now.UnixMicro()}
	if len(c.floors) > 0 {
		raw, err := c.floors.above(prefix).encode()
		if err != nil {
			return err
		}
		set, args = set+`, floors = ?`, append(args, raw)
	}
	owned, err := db.Exec(ctx, `UPDATE avhub_cursors SET `+set+` WHERE id = ? AND epoch = ?`, append(args, c.cursorID(), c.lease.Epoch)...)
	if err != nil {
		return fmt.Errorf("store cursor: %w", err)
	}
	if owned == 0 {
		return ErrFenced
	}
	if ch.status != "" {
		if err := c.writeStatus(ctx, ch.status, c.halted); err != nil {
			return err
		}
	}
	if ch.breaker != nil {
		if _, err := db.Exec(ctx, `UPDATE avhub_cursors SET breaker = ? WHERE id = ? AND epoch = ?`, micros(*ch.breaker), c.cursorID(), c.lease.Epoch); err != nil {
			return fmt.Errorf("store the breaker: %w", err)
		}
	}
	rows := make([][]any, 0, len(ch.states))
	for key, s := range ch.states {
		rows = append(rows, []any{c.laneID(key), s.position, s.data, now.UnixMicro()})
	}
	err = db.Insert(ctx, `INSERT INTO avhub_plugin_states (id, position, state, updated_at)`, rows,
		`ON CONFLICT (id) DO UPDATE SET position = excluded.position, state = excluded.state, updated_at = excluded.updated_at`)
	if err != nil {
		return fmt.Errorf("store state: %w", err)
	}
	rows = rows[:0]
	for _, l := range ch.lanes {
		history, err := json.Marshal(l.History)
		if err != nil {
			return fmt.Errorf("encode history: %w", err)
		}
		rows = append(rows, []any{c.laneID(l.Key), l.Plugin, l.Key, Slot(l.Key), l.Head, l.Attempts, micros(l.Since), micros(l.NextAt),
			l.Spent.Microseconds(), micros(l.FailedAt), l.Parked, l.Error, history, 0})
	}
	// An operator's word about an event that is still the head stays.
	err = db.Insert(ctx, `INSERT INTO avhub_lanes (id, plugin, key, slot, head, attempts, since, next_at, spent, failed_at, parked, last_error, history, discard)`, rows,
		`ON CONFLICT (id) DO UPDATE SET head = excluded.head, attempts = excluded.attempts, since = excluded.since,
 next_at = excluded.next_at, spent = excluded.spent, failed_at = excluded.failed_at, parked = excluded.parked, last_error = excluded.last_error, history = excluded.history,
 discard = CASE WHEN avhub_lanes.discard < excluded.head THEN 0 ELSE avhub_lanes.discard END`)
	if err != nil {
		return fmt.Errorf("store lanes: %w", err)
	}
	if ch.freed != "" {
		if _, err := db.Exec(ctx, `DELETE FROM avhub_lanes WHERE id = ?`, c.laneID(ch.freed)); err != nil {
			return fmt.Errorf("hand a lane back: %w", err)
		}
	}
	if err := c.writeAhead(ctx, ch.ahead, now); err != nil {
		return err
	}
	if ch.replay != nil {
		if err := c.writeReplay(ctx, ch.replay, now); err != nil {
			return err
		}
	}
	return c.writeLetters(ctx, ch)
}

func (c *Consumer) writeLetters(ctx context.Context, ch *changes) error {
	db := c.deps.Store.SQL(ctx)
	for _, position := range ch.unparked {
		if _, err := db.Exec(ctx, `DELETE FROM avhub_dead_letters WHERE plugin = ? AND position = ? AND replay = 0`, c.cfg.Name, position); err != nil {
			return fmt.Errorf("remove the dead letter of a parked lane: %w", err)
		}
	}
	rows := make([][]any, 0, len(ch.letters))
	for _, d := range ch.letters {
		ev, err := d.encode()
		if err != nil {
			return fmt.Errorf("encode dead letter: %w", err)
		}
		history, err := json.Marshal(d.History)
		if err != nil {
			return fmt.Errorf("encode history: %w", err)
		}
		rows = append(rows, []any{d.Plugin, d.Key, Slot(d.Key), d.Position, d.EventID, d.Type, d.TenantID, ev, d.Reason, d.Attempts, history, false, d.Replay,
			micros(d.CreatedAt), micros(d.UpdatedAt)})
	}
	err := db.Insert(ctx, `INSERT INTO avhub_dead_letters (plugin, key, slot, position, event_id, type, tenant_id, event, reason, attempts, history, retry, replay, created_at, updated_at)`, rows,
		`ON CONFLICT (plugin, position, event_id) DO UPDATE SET reason = excluded.reason, attempts = excluded.attempts, history = excluded.history,
 retry = excluded.retry, replay = excluded.replay, updated_at = excluded.updated_at`)
	if err != nil {
		return fmt.Errorf("store dead letters: %w", err)
	}
	for _, d := range ch.retried {
		history, err := json.Marshal(d.History)
		if err != nil {
			return fmt.Errorf("encode history: %w", err)
		}
		if _, err = db.Exec(ctx, `UPDATE avhub_dead_letters SET reason = ?, attempts = ?, history = ?, retry = ?, updated_at = ? WHERE id = ?`,
			d.Reason, d.Attempts, history, false, micros(d.UpdatedAt), d.ID); err != nil {
			return fmt.Errorf("store a retried dead letter: %w", err)
		}
	}
	err = store.Chunks(len(ch.gone), 1, func(from, to int) error {
		ids := make([]any, 0, to-from)
		for _, d := range ch.gone[from:to] {
			ids = append(ids, d.ID)
		}
		_, err := db.Exec(ctx, `DELETE FROM avhub_dead_letters WHERE id IN `+store.Tuples(1, len(ids)), ids...)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete dead letters that were settled: %w", err)
	}
	return nil
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func (c *Consumer) loadStates(ctx context.Context, keys []string) (map[string]keyState, error) {
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = c.laneID(key)
	}
	states := make(map[string]keyState, len(keys))
	prefix := len(c.cfg.Name) + 1
	err := c.deps.Store.ReadSQL().In(ctx, func(rows *sql.Rows) error {
		var id string
		var s keyState
		if err := rows.Scan(&id, &s.position, &s.data); err != nil {
			return err
		}
		states[id[prefix:]] = s
		return nil
	}, `SELECT id, position, state FROM avhub_plugin_states WHERE id IN %s`, ids)
	if err != nil {
		return nil, fmt.Errorf("load state: %w", err)
	}
	return states, nil
}

// observe tells metrics and the observer what was settled.
func (c *Consumer) observe(ch *changes) {
	m := c.deps.Metrics
	for _, d := range ch.done {
		m.verdicts.WithLabelValues(c.cfg.Name, d.Verdict).Inc()
		if !d.Replay && (d.Verdict == "applied" || d.Verdict == "skipped") {
			m.latency.WithLabelValues(c.cfg.Name).Observe(c.deps.Now().Sub(d.Event.ReceivedAt).Seconds())
		}
		if d.Verdict == verdictDead || d.Verdict == verdictParked {
			c.deps.Log.Error().Str("event", d.Event.ID).Str("type", d.Event.Type).Str("reason", d.Reason).
				Msg("event given up; see `avhub delivery list`")
		}
		if c.deps.Observe != nil {
			c.deps.Observe(d)
		}
	}
}

// poll looks after what others may have done to the rows, and after metrics.
func (c *Consumer) poll(ctx context.Context) error {
	if err := c.checkOwner(ctx); err != nil {
		return err
	}
	if err := c.obey(ctx); err != nil {
		return err
	}
	c.reportStatus(ctx)
	if err := c.findReplay(ctx); err != nil {
		return err
	}
	if !c.down && !c.paused && !c.alone() {
		if err := c.retryLetters(ctx); err != nil {
			return err
		}
	}
	last, err := c.deps.Journal.Last(ctx)
	if err != nil {
		return err
	}
	name := c.cfg.Name
	part := strconv.Itoa(c.cfg.Partition)
	c.deps.Metrics.lag.WithLabelValues(name, part).Set(float64(last - c.window.prefix))
	c.deps.Metrics.lanes.WithLabelValues(name, part).Set(float64(c.lanes))
	open := 0.0
	if c.breaker.isOpen() {
		open = 1
	}
	c.deps.Metrics.breaker.WithLabelValues(name, part).Set(open)
	if now := c.deps.Now(); c.cfg.Partition == 0 && now.Sub(c.counted) >= countEvery {
		c.counted = now
		var dead float64
		if err := c.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&dead) },
			`SELECT COUNT(*) FROM avhub_dead_letters WHERE plugin = ?`, name); err != nil {
			return fmt.Errorf("count dead letters: %w", err)
		}
		c.deps.Metrics.dead.WithLabelValues(name).Set(dead)
	}
	return nil
}

func (c *Consumer) checkOwner(ctx context.Context) error {
	var epoch int64
	err := c.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&epoch) },
		`SELECT epoch FROM avhub_cursors WHERE id = ?`, c.cursorID())
	if err != nil {
		return fmt.Errorf("check the cursor's owner: %w", err)
	}
	if epoch != c.lease.Epoch {
		return ErrFenced
	}
	return nil
}

// BreakerOpen is the state of a plugin that runs and fails for most tenants.
const BreakerOpen = "breaker-open"

// reportStatus stores what the plugin is doing, for those who look at the
// database, and that this hub is alive: a hub that is killed leaves no word.
// Whatever else was stored lately says so, too.
func (c *Consumer) reportStatus(ctx context.Context) {
	is := c.deps.Plugin.Status()
	state, reason := c.state()
	status := fmt.Sprintf("%s\x00%s\x00%s\x00%d\x00%s", state, reason, is.Version, is.Restarts, c.configHash())
	now := c.deps.Now()
	if status == c.status && now.Sub(c.seen) < beatEvery {
		return
	}
	if err := c.writeStatus(ctx, state, reason); err != nil {
		c.deps.Log.Warn().Err(err).Msg("could not store the plugin's status; trying again")
		return
	}
	c.status, c.seen = status, now
}

func (c *Consumer) writeStatus(ctx context.Context, state, reason string) error {
	is := c.deps.Plugin.Status()
	hash := c.configHash()
	if state == halted {
		hash = c.haltedHash
	}
	_, err := c.deps.Store.SQL(ctx).Exec(ctx,
		`UPDATE avhub_cursors SET state = ?, reason = ?, version = ?, restarts = ?, config_hash = ?, updated_at = ? WHERE id = ? AND epoch = ?`,
		state, clean(reason), clean(is.Version), is.Restarts, hash, c.deps.Now().UnixMicro(), c.cursorID(), c.lease.Epoch)
	if err != nil {
		return fmt.Errorf("store status: %w", err)
	}
	return nil
}
