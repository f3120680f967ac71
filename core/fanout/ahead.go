package fanout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// standstill is a cursor that does not move because of a slow call. What others
// settle beyond it meanwhile is noted with their keys, or a crash would have all
// of it delivered again.
type standstill struct {
	at    int64 // the place
	since time.Time
	noted map[string]int64 // keys, up to where
}

// noteAhead stores what is settled beyond a cursor that stands still. A cursor
// that moves says it all by itself, without a row for each key.
func (c *Consumer) noteAhead(ctx context.Context, now time.Time) error {
	s := &c.stands
	if s.at != c.window.prefix || s.since.IsZero() {
		*s = standstill{at: c.window.prefix, since: now, noted: s.noted}
		return nil
	}
	stood := now.Sub(s.since)
	if stood < flushEvery && (stood < flushEvery/4 || c.settledBeyond() < c.limits.flushEvents) {
		return nil
	}
	ahead, err := c.ahead(ctx)
	if err != nil {
		return err
	}
	fresh := map[string]int64{}
	for key, position := range ahead {
		if position > s.noted[key] {
			fresh[key] = position
		}
	}
	if len(fresh) > 0 {
		if err := c.commit(ctx, &changes{ahead: fresh}); err != nil {
			return err
		}
	}
	s.since, s.noted = now, ahead // what is not in the window any more need not be remembered
	return nil
}

// settledBeyond counts the events beyond the cursor that are settled, or a
// lane's.
func (c *Consumer) settledBeyond() (n int64) {
	for _, it := range c.window.items {
		if it.settled {
			n++
		}
	}
	return n
}

// ahead tells up to where keys are settled beyond the cursor. What belongs to
// lanes is none of it.
func (c *Consumer) ahead(ctx context.Context) (map[string]int64, error) {
	keys := map[string]int64{}
	open := map[string]bool{} // keys with an event that is not settled
	for _, it := range c.window.items {
		switch {
		case !it.settled:
			open[it.key] = true
		case !open[it.key]:
			keys[it.key] = it.ev.Position
		}
	}
	if len(keys) == 0 || c.lanes == 0 {
		return keys, nil
	}
	lanes, err := c.laneHeads(ctx, slices.Collect(maps.Keys(keys)))
	if err != nil {
		return nil, fmt.Errorf("look for blocked keys: %w", err)
	}
	for key := range lanes {
		delete(keys, key)
	}
	return keys, nil
}

// writeAhead notes keys that are settled beyond the cursor, so that whoever goes
// on from it does not deliver that again.
func (c *Consumer) writeAhead(ctx context.Context, ahead map[string]int64, now time.Time) error {
	rows := make([][]any, 0, len(ahead))
	for key, position := range ahead {
		rows = append(rows, []any{c.laneID(key), position, now.UnixMicro()})
	}
	err := c.deps.Store.SQL(ctx).Insert(ctx, `INSERT INTO avhub_plugin_states (id, position, updated_at)`, rows,
		`ON CONFLICT (id) DO UPDATE SET position = excluded.position WHERE avhub_plugin_states.position < excluded.position`)
	if err != nil {
		return fmt.Errorf("store what is settled beyond the cursor: %w", err)
	}
	return nil
}
