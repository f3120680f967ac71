package fanout

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// parkedUntil is when a parked lane is tried again: not before an operator
// decides about its dead letter.
var parkedUntil = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)

// giveUp makes a dead letter of an event and returns what is said of it. Its key
// goes on; or, if on_dead is park, it waits as a lane behind the event, which is
// not settled then: an operator's retry delivers it in its place.
func (c *Consumer) giveUp(run *laneRun, it *item, reason string, earlier []Failure, now time.Time, ch *changes) string {
	letter := c.deadLetter(it, reason, run, now)
	if len(earlier) > 0 {
		letter.History = append(earlier[:len(earlier)-1:len(earlier)-1], Failure{now, reason})
		if extra := len(letter.History) - historyKept; extra > 0 {
			letter.History = letter.History[extra:]
		}
		letter.Attempts = max(letter.Attempts, len(letter.History))
	}
	ch.letters = append(ch.letters, letter)
	if run != nil && run.lane.Parked > 0 && run.lane.Parked != it.ev.Position {
		ch.unparked = append(ch.unparked, run.lane.Parked)
		run.lane.Parked = 0
	}
	if !c.cfg.Park {
		return verdictDead
	}
	lane := &Lane{Plugin: c.cfg.Name, Key: it.key, Head: it.first(), Since: now}
	if run != nil {
		lane = run.lane
	}
	if lane.Head != it.first() || lane.Since.IsZero() {
		lane.Head, lane.Since = it.first(), now
	}
	lane.Attempts, lane.Error, lane.History = letter.Attempts, reason, letter.History
	lane.Parked, lane.NextAt, lane.FailedAt = it.ev.Position, parkedUntil, time.Time{}
	if run != nil {
		run.blocked = true
	} else {
		c.addLane(lane, it, ch)
	}
	return verdictParked
}

// releasedLanes are parked lanes about which an operator has decided: their dead
// letter is to be retried, or is gone.
func (c *Consumer) releasedLanes(ctx context.Context, limit int) ([]*Lane, error) {
	if limit <= 0 {
		return nil, nil
	}
	where, args := c.mine()
	args = append(args, parkedUntil.UnixMicro())
	const letter = `SELECT 1 FROM avhub_dead_letters d WHERE d.plugin = avhub_lanes.plugin AND d.position = avhub_lanes.parked`
	lanes, err := readLanes(ctx, c.deps.Store.ReadSQL(),
		where+` AND next_at = ? AND EXISTS (`+letter+` AND d.retry) LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, err
	}
	gone, err := readLanes(ctx, c.deps.Store.ReadSQL(),
		where+` AND next_at IN (0, ?) AND parked > 0 AND NOT EXISTS (`+letter+`) LIMIT ?`, append(args, limit)...)
	for _, lane := range gone {
		lane.Discard = lane.Parked
	}
	return append(lanes, gone...), err
}

// heed gives up what lanes are parked behind whose dead letter an operator has
// discarded, also if they are to be tried again by a later word.
func (c *Consumer) heed(ctx context.Context, lanes []*Lane) error {
	for _, lane := range lanes {
		if lane.Parked == 0 {
			continue
		}
		there := false
		err := c.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&there) },
			`SELECT COUNT(*) > 0 FROM avhub_dead_letters WHERE plugin = ? AND position = ?`, c.cfg.Name, lane.Parked)
		if err != nil {
			return fmt.Errorf("look for a parked lane's dead letter: %w", err)
		}
		if !there {
			lane.Discard = lane.Parked
		}
	}
	return nil
}

// discardLanes gives up the heads of lanes on an operator's word, without asking
// the plugin for anything.
func (c *Consumer) discardLanes(ctx context.Context) error {
	if c.lanes == 0 {
		return nil
	}
	where, args := c.mine()
	lanes, err := readLanes(ctx, c.deps.Store.ReadSQL(), where+` AND discard > 0 LIMIT ?`, append(args, c.limits.lanesAtWork)...)
	if err != nil {
		return err
	}
	released, err := c.releasedLanes(ctx, c.limits.lanesAtWork)
	if err != nil {
		return err
	}
	for _, lane := range append(lanes, released...) {
		if lane.Discard == 0 || c.flying[lane.Key] {
			continue
		}
		run := &laneRun{lane: lane}
		items, err := c.nextOf(ctx, run)
		if err != nil {
			return err
		}
		if len(items) > 0 && items[0].ev.Position <= lane.Discard {
			if err := c.discard(ctx, run, items[0]); err != nil {
				return err
			}
		}
	}
	return nil
}
