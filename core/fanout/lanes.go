package fanout

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

// workLanes takes up lanes that are due and brings forward those that it works
// on. They take turns.
func (c *Consumer) workLanes(ctx context.Context, now time.Time) error {
	if c.lanes > 0 && (c.polled.Equal(now) || !c.due.IsZero() && !now.Before(c.due)) {
		if err := c.takeUp(ctx, now); err != nil {
			return err
		}
	}
	if len(c.active) == 0 {
		return nil
	}
	suspects := c.onTrial()
	runs := slices.SortedFunc(maps.Values(c.active), func(a, b *laneRun) int { return cmp.Compare(a.turn, b.turn) })
	for _, run := range runs {
		if c.runs >= c.limits.lanesInFlight {
			return nil
		}
		if c.flying[run.lane.Key] || run.idle || now.Before(run.wait) || suspects[run.lane.Key] {
			continue
		}
		c.turn++
		run.turn = c.turn
		if err := c.goOn(ctx, run); err != nil {
			return err
		}
	}
	return nil
}

// takeUp takes up lanes that are due, those first that are due for longest. A
// lane with many events gives up its place after each call when others wait for
// one.
func (c *Consumer) takeUp(ctx context.Context, now time.Time) error {
	room := c.laneRoom()
	if room <= 0 {
		c.due, c.crowded = now, true // looked at again when a call comes back
		return nil
	}
	limit := room + len(c.active) // those at work may be among them
	where, args := c.mine()
	due, err := readLanes(ctx, c.deps.Store.ReadSQL(), where+` AND (next_at <= ? OR discard > 0) ORDER BY next_at LIMIT ?`,
		append(args, now.UnixMicro(), limit)...)
	if err != nil {
		return err
	}
	if err := c.heed(ctx, due); err != nil {
		return err
	}
	c.due, c.crowded = time.Time{}, false
	if len(due) == limit {
		c.due, c.crowded = now, true // there may be more
	}
	if c.polled.Equal(now) {
		released, err := c.releasedLanes(ctx, room)
		if err != nil {
			return err
		}
		due = append(due, released...)
	}
	for _, lane := range due {
		if c.active[lane.Key] == nil && room > 0 {
			c.turn++
			c.active[lane.Key] = &laneRun{lane: lane, turn: c.turn}
			room--
		}
	}
	return nil
}

// laneRoom is how many more lanes can be taken up.
func (c *Consumer) laneRoom() int {
	idle := 0
	for _, run := range c.active {
		if run.idle {
			idle++
		}
	}
	if idle >= c.limits.idleLanes {
		return 0
	}
	return c.limits.lanesAtWork - (len(c.active) - idle)
}

// laneBatch is how many events of a lane go into one call.
func (c *Consumer) laneBatch() int {
	if c.cfg.Park && !c.coalesce {
		return 1 // a plugin goes on after it has rejected an event; this key must not
	}
	return c.limits.batchEvents
}

// nextOf reads the next events of a lane, up to where the main stream has come.
func (c *Consumer) nextOf(ctx context.Context, run *laneRun) ([]*item, error) {
	q := c.laneQuery(run.lane.Key, run.lane.Head)
	if q.Until < run.lane.Head {
		return nil, nil
	}
	q.Limit = c.laneBatch()
	events, err := c.deps.Journal.Read(ctx, q)
	if err != nil {
		return nil, err
	}
	items := make([]*item, 0, len(events))
	for _, ev := range events {
		items = append(items, &item{ev: ev, key: run.lane.Key})
	}
	return items, nil
}

// goOn delivers the next events of a lane, or finds that there are none.
func (c *Consumer) goOn(ctx context.Context, run *laneRun) error {
	items, err := c.nextOf(ctx, run)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		run.idle, run.seen, run.skipped = true, c.window.frontier, 0
		return nil
	}
	if run.lane.Discard > 0 && items[0].ev.Position <= max(run.lane.Discard, run.lane.Parked) {
		return c.discard(ctx, run, items[0])
	}
	if c.coalesce {
		last := len(items) - 1
		if run.agains > 0 { // that very event is to come, not a newer one
			last = max(slices.IndexFunc(items, func(it *item) bool { return it.ev.Position == run.again }), 0)
		}
		items[last].covers, items = items[:last], items[last:last+1]
	}
	items[0].agains = run.agains
	c.send(&batch{items: items, run: run})
	return nil
}

// discard gives up a lane's head on an operator's word. A parked lane is stuck
// at its dead letter's event, so all up to there is given up, and the letter
// goes.
func (c *Consumer) discard(ctx context.Context, run *laneRun, it *item) error {
	lane, now := *run.lane, c.deps.Now()
	lane.Head, lane.NextAt = it.ev.Position+1, now
	if lane.Head > max(lane.Discard, lane.Parked) {
		lane.Discard = 0
	}
	ch := &changes{done: []Delivery{{Plugin: c.cfg.Name, Event: it.ev, Verdict: "discarded", Reason: run.lane.Error}}}
	if lane.Parked > 0 && lane.Head <= lane.Parked {
		lane.NextAt = parkedUntil // found again as long as the word stands
	} else {
		lane.clear()
	}
	c.unpark(&lane, ch)
	states, err := c.loadStates(ctx, []string{lane.Key})
	if err != nil {
		return err
	}
	state := states[lane.Key]
	state.position = max(state.position, it.ev.Position)
	ch.states, ch.lanes = map[string]keyState{lane.Key: state}, []*Lane{&lane}
	if err = c.commit(ctx, ch); err == nil {
		*run.lane = lane
	}
	return err
}

// handBack returns lanes that have settled everything to the main stream. The
// lane's row goes in the very transaction in which the cursor stands at or
// beyond all that the lane settled: a hub that starts from that cursor meets
// none of it again, and everything later comes by the main stream.
func (c *Consumer) handBack(ctx context.Context) error {
	for key, run := range c.active {
		if !run.idle {
			continue
		}
		if run.skipped > run.seen { // more came meanwhile
			run.idle = false
			continue
		}
		if run.lane.Error != "" && run.seen < run.lane.Head {
			// After a restart the main stream may not have come to the failed head
			// yet. It stays the lane's, with its attempts.
			run.idle = c.window.frontier < run.lane.Head
			continue
		}
		if top := c.floors.top(); run.seen < top {
			// The main stream passes over what a former division left to lanes, so
			// the lane must have dealt with it.
			run.idle = c.window.frontier < top
			continue
		}
		if c.window.prefix < run.lane.Head-1 {
			continue // until older events of other keys are settled
		}
		if err := c.commit(ctx, &changes{freed: key}); err != nil {
			return err
		}
		delete(c.active, key)
		c.lanes--
	}
	return nil
}
