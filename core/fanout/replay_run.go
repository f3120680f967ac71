package fanout

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/avhub/avhub/core/event"
)

// A replay runs in the consumer's loop beside the live deliveries: its keys are
// in a call with it or with them, never both. It has one call in flight of its
// own, reads beside the loop, and commits its progress with the verdicts.

const (
	// replayAttempts fail before a replayed event becomes a dead letter.
	replayAttempts = 8
	// replayBurst is the part of a second's events that may go out at once, so
	// that a call with replayed events is short and live ones do not wait for it.
	replayBurst = 10
)

// replayRun is the replay that a partition works on.
type replayRun struct {
	Replay
	types event.Matcher
	part  replayPart

	items []*item // beyond the place in part, in order
	bytes int
	at    replayPlace // up to where was read
	ended bool        // there is nothing more to read
	read  bool        // a read is under way
	cut   bool        // it is over for this consumer; a read may still come back

	readAfter time.Time // after a read that failed

	flying bool // a call is
	limit  int  // events of a call: fewer after calls that ended without an answer
	next   time.Time
	stored time.Time // when progress was stored
	dirty  bool      // there is some that is not
	done   bool
}

// replayPlace is how far a replay has come: a position of the journal, or, in a
// snapshot, a row.
type replayPlace struct {
	position int64
	kind, id string
}

// replayPart is a row of avhub_replay_parts.
type replayPart struct {
	replayPlace
	ahead  replayAhead
	counts ReplayCounts
}

// replayAhead is what is known beyond the place: marks of settled events, and
// keys whose first unsettled event fails.
type replayAhead struct {
	Settled []string                  `json:"settled,omitempty"`
	Failing map[string]*replayFailing `json:"failing,omitempty"`
}

type replayFailing struct {
	Attempts int       `json:"attempts"`
	NextAt   time.Time `json:"next_at"`
	History  []Failure `json:"history,omitempty"`
}

// mark names an event within its replay.
func (r *replayRun) mark(it *item) string {
	if r.Kind == ReplaySnapshot {
		return it.ev.ID
	}
	return fmt.Sprint(it.ev.Position)
}

// holdsLog tells whether the main stream waits: a snapshot comes first.
func (c *Consumer) holdsLog() bool { return c.replay != nil && c.replay.Kind == ReplaySnapshot }

// findReplay looks for a replay to work on, and whether the present one goes on.
func (c *Consumer) findReplay(ctx context.Context) error {
	if err := c.closeReplays(ctx); err != nil {
		return err
	}
	if r := c.replay; r != nil {
		state, err := c.replayState(ctx, r.ID)
		if err != nil || state == ReplayRunning || r.flying {
			return err
		}
		c.dropReplay()
	}
	var found *Replay
	err := c.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		r, err := scanReplay(rows)
		found = &r
		return err
	}, `SELECT `+replayColumns+` FROM avhub_replays r WHERE plugin = ? AND state = ? AND (partitions <> ? OR NOT EXISTS
 (SELECT 1 FROM avhub_replay_parts p WHERE p.replay = r.id AND p.partition = ? AND p.done = ?)) ORDER BY kind DESC, id LIMIT 1`,
		c.cfg.Name, ReplayRunning, c.cfg.Partitions, c.cfg.Partition, true)
	if err != nil {
		return fmt.Errorf("look for replays: %w", err)
	}
	if found == nil {
		return nil
	}
	if found.Partitions != c.cfg.Partitions {
		return c.restartReplay(ctx, found)
	}
	r := &replayRun{Replay: *found, limit: c.limits.batchEvents}
	if r.types, err = found.matcher(); err != nil {
		return fmt.Errorf("types of replay %d: %w", r.ID, err)
	}
	if r.part, err = c.readReplayPart(ctx, found); err != nil {
		return err
	}
	if r.Kind == ReplaySnapshot && c.deps.Rows == nil {
		return fmt.Errorf("plugin %s waits for a snapshot, and there is no mirror to take it from", c.cfg.Name)
	}
	r.at = r.part.replayPlace
	c.replay = r
	c.deps.Log.Info().Int64("replay", r.ID).Str("kind", r.Kind).Int64("until", r.Until).Msg("a replay goes on from its stored progress")
	return nil
}

// dropReplay forgets the replay. A read that is under way is thrown away.
func (c *Consumer) dropReplay() {
	c.replay.cut = true
	c.replay = nil
}

func (c *Consumer) replayState(ctx context.Context, id int64) (state string, err error) {
	err = c.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&state) },
		`SELECT state FROM avhub_replays WHERE id = ?`, id)
	if err != nil {
		return "", fmt.Errorf("read a replay: %w", err)
	}
	return state, nil
}

// restartReplay begins a replay anew after the plugin's keys were divided
// otherwise: its progress was that of other partitions.
func (c *Consumer) restartReplay(ctx context.Context, r *Replay) error {
	err := c.inTx(ctx, func(ctx context.Context) error {
		db := c.deps.Store.SQL(ctx)
		n, err := db.Exec(ctx, `UPDATE avhub_replays SET partitions = ? WHERE id = ? AND partitions = ?`, c.cfg.Partitions, r.ID, r.Partitions)
		if err != nil || n == 0 { // another partition was faster
			return err
		}
		_, err = db.Exec(ctx, `DELETE FROM avhub_replay_parts WHERE replay = ?`, r.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("begin a replay anew: %w", err)
	}
	return nil
}

func replayPartID(replay int64, partition int) string { return fmt.Sprintf("%d/%d", replay, partition) }

func (c *Consumer) readReplayPart(ctx context.Context, r *Replay) (replayPart, error) {
	p := replayPart{replayPlace: replayPlace{position: r.After}}
	err := c.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var place string
		var ahead []byte
		if err := rows.Scan(&p.position, &place, &ahead, &p.counts.Applied, &p.counts.Skipped, &p.counts.Failed, &p.counts.Deferred); err != nil {
			return err
		}
		p.kind, p.id = cutPlace(place)
		if len(ahead) > 0 {
			return json.Unmarshal(ahead, &p.ahead)
		}
		return nil
	}, `SELECT position, place, ahead, applied, skipped, failed, deferred FROM avhub_replay_parts WHERE id = ?`, replayPartID(r.ID, c.cfg.Partition))
	if err != nil {
		return p, fmt.Errorf("read the progress of a replay: %w", err)
	}
	if p.ahead.Failing == nil {
		p.ahead.Failing = map[string]*replayFailing{}
	}
	return p, nil
}

// closeReplays marks replays as done whose last partition may have ended while
// this one did.
func (c *Consumer) closeReplays(ctx context.Context) error {
	for _, id := range c.closing {
		_, err := c.deps.Store.SQL(ctx).Exec(ctx, closeReplay, ReplayDone, c.deps.Now().UnixMicro(), id, ReplayRunning, id, true)
		if err != nil {
			return fmt.Errorf("end a replay: %w", err)
		}
	}
	c.closing = slices.DeleteFunc(c.closing, func(id int64) bool {
		state, err := c.replayState(ctx, id)
		return err == nil && state != ReplayRunning
	})
	return nil
}

const closeReplay = `UPDATE avhub_replays SET state = ?, finished_at = ? WHERE id = ? AND state = ?
 AND partitions <= (SELECT COUNT(*) FROM avhub_replay_parts WHERE replay = ? AND done = ?)`

// workReplay starts what can be started of the replay: a read, or a call.
func (c *Consumer) workReplay(ctx context.Context, now time.Time) error {
	r := c.replay
	if r == nil {
		return nil
	}
	c.readReplay(r)
	if err := c.deferReplayed(ctx, r); err != nil {
		return err
	}
	if !r.flying && !now.Before(r.next) && !now.Before(c.notBefore) {
		if b := c.pickReplayed(r, now); b != nil {
			if r.Rate > 0 {
				r.next = now.Add(time.Duration(len(b.items)) * time.Second * time.Duration(c.cfg.Partitions) / time.Duration(r.Rate))
			}
			c.send(b)
		}
	}
	r.advance()
	if r.dirty && (r.done || now.Sub(r.stored) >= flushEvery) {
		return c.commitReplay(ctx, r)
	}
	return nil
}

func (c *Consumer) commitReplay(ctx context.Context, r *replayRun) error {
	return c.commit(ctx, &changes{replay: r})
}

// replayDue is when the replay can go on by itself, zero if only a call or a read
// brings it forward.
func (c *Consumer) replayDue(now time.Time) time.Time {
	r := c.replay
	if r == nil || r.flying {
		return time.Time{}
	}
	due := r.next
	if due.After(now) && len(r.items) > 0 {
		return due
	}
	// What fails is next in line; what waits for a live call goes on when that is
	// back.
	due = time.Time{}
	for _, f := range r.part.ahead.Failing {
		if f.NextAt.After(now) && (due.IsZero() || f.NextAt.Before(due)) {
			due = f.NextAt
		}
	}
	return due
}

// firstOf tells whether an item is the first of its key in the batch.
func (b *batch) firstOf(i int) bool {
	for _, before := range b.items[:i] {
		if before.key == b.items[i].key {
			return false
		}
	}
	return true
}

// replayStored moves on after the progress was committed.
func (c *Consumer) replayStored(r *replayRun, now time.Time) {
	r.stored, r.dirty = now, false
	if r.done && !r.flying && c.replay == r {
		c.closing = append(c.closing, r.ID)
		c.deps.Log.Info().Int64("replay", r.ID).Int64("applied", r.part.counts.Applied).Int64("skipped", r.part.counts.Skipped).
			Int64("failed", r.part.counts.Failed).Int64("deferred", r.part.counts.Deferred).Msg("a replay is done")
		c.dropReplay()
		c.polled = time.Time{} // there may be another one
	}
}

// deferReplayed leaves events to the live deliveries whose key is blocked at or
// before them: they come from there, for the first time.
func (c *Consumer) deferReplayed(ctx context.Context, r *replayRun) error {
	if r.Kind != ReplayEvents || c.lanes == 0 {
		return nil
	}
	var open []*item
	for _, it := range r.items {
		if !it.settled && !it.flying {
			open = append(open, it)
		}
	}
	heads, err := c.blockedKeys(ctx, open)
	if err != nil {
		return err
	}
	for _, it := range open {
		if head, blocked := heads[it.key]; blocked && it.ev.Position >= head {
			it.settle()
			r.part.counts.Deferred++
			r.dirty = true
		}
	}
	return nil
}

// pickReplayed takes the next events of the replay that may go out now.
func (c *Consumer) pickReplayed(r *replayRun, now time.Time) *batch {
	most := r.limit
	if r.Rate > 0 {
		most = min(most, max(r.Rate/c.cfg.Partitions/replayBurst, 1))
	}
	b := &batch{replay: r}
	size := 0
	held := map[string]bool{}
	for _, it := range r.items {
		switch {
		case it.settled || held[it.key]:
			continue
		case c.flying[it.key] || r.fails(it.key, now):
			held[it.key] = true // later ones of the key wait behind it
			continue
		}
		if len(b.items) > 0 && size+it.size() > c.limits.batchBytes {
			break
		}
		size += it.size()
		if b.items = append(b.items, it); len(b.items) >= most {
			break
		}
	}
	if len(b.items) == 0 {
		return nil
	}
	r.flying = true
	return b
}

func (r *replayRun) fails(key string, now time.Time) bool {
	f := r.part.ahead.Failing[key]
	return f != nil && now.Before(f.NextAt)
}

// advance drops what is settled from the front, and finds the replay's end.
func (r *replayRun) advance() {
	n := 0
	for n < len(r.items) && r.items[n].settled {
		r.bytes -= r.items[n].size()
		r.part.replayPlace = r.items[n].place
		n++
	}
	if n > 0 {
		r.items, r.dirty = append(r.items[:0:0], r.items[n:]...), true
	}
	if len(r.items) > 0 {
		return
	}
	if r.part.replayPlace != r.at {
		r.part.replayPlace, r.dirty = r.at, true
	}
	if r.ended && !r.done {
		r.done, r.dirty = true, true
	}
}

// writeReplay stores the progress, and the end of the replay with it.
func (c *Consumer) writeReplay(ctx context.Context, r *replayRun, now time.Time) error {
	// What was settled before a restart and is not read again yet stays noted.
	ahead := replayAhead{Failing: r.part.ahead.Failing, Settled: slices.Clone(r.part.ahead.Settled)}
	if r.ended {
		ahead.Settled = nil
	}
	for _, it := range r.items {
		if it.settled {
			ahead.Settled = append(ahead.Settled, r.mark(it))
		}
	}
	raw, err := json.Marshal(ahead)
	if err != nil {
		return fmt.Errorf("encode the progress of a replay: %w", err)
	}
	db := c.deps.Store.SQL(ctx)
	n := r.part.counts
	_, err = db.Exec(ctx, `INSERT INTO avhub_replay_parts
 (id, replay, partition, position, place, ahead, applied, skipped, failed, deferred, done, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
 ON CONFLICT (id) DO UPDATE SET position = excluded.position, place = excluded.place, ahead = excluded.ahead, applied = excluded.applied,
 skipped = excluded.skipped, failed = excluded.failed, deferred = excluded.deferred, done = excluded.done, updated_at = excluded.updated_at`,
		replayPartID(r.ID, c.cfg.Partition), r.ID, c.cfg.Partition, r.part.position, r.part.place(), raw,
		n.Applied, n.Skipped, n.Failed, n.Deferred, r.done, now.UnixMicro())
	if err == nil && r.done {
		_, err = db.Exec(ctx, closeReplay, ReplayDone, now.UnixMicro(), r.ID, ReplayRunning, r.ID, true)
	}
	if err != nil {
		return fmt.Errorf("store the progress of a replay: %w", err)
	}
	return nil
}
