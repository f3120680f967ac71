package fanout

import (
	"context"
	"slices"
	"time"
)

// trip opens the breaker if the fault is the plugin's. From then on nothing but
// probes is delivered, and no attempt is counted.
func (c *Consumer) trip(now time.Time, reason string, ch *changes) {
	if !c.breaker.trip(now, reason) {
		return
	}
	c.deps.Log.Error().Str("reason", reason).Msg("the breaker opens: " + c.breaker.tenants + ", so the plugin itself is at fault; its events wait, and one after the other is tried until one succeeds")
	for _, t := range c.trials {
		c.drop(t)
	}
	c.trials = nil
	for key := range c.active {
		if !c.flying[key] {
			delete(c.active, key)
		}
	}
	ch.breaker = &c.breaker.openAt
	c.polled = time.Time{} // tell operators at once
}

// weighProbe closes the breaker after a probe that succeeded, or puts the next
// one off.
func (c *Consumer) weighProbe(b *batch, worked, again bool, failure string, now time.Time, ch *changes) {
	switch {
	case worked:
		c.deps.Log.Info().Stringer("open", now.Sub(c.breaker.openAt).Round(time.Second)).Msg("the breaker closes: the plugin works again")
		c.breaker.close(now)
		ch.breaker = &time.Time{}
		c.due, c.polled = now, time.Time{}
	case failure != "":
		c.breaker.probed(now, failure)
		ch.wished = true
	case again:
		c.again, c.breaker.next = &batch{items: b.items, run: b.run, probe: true}, now
	default: // held
		c.breaker.next = now.Add(heldWait)
	}
}

// probe tries one event while the breaker is open, each time another key's: one
// that works shows that the plugin does.
func (c *Consumer) probe(ctx context.Context, now time.Time) error {
	looked := c.polled.Equal(now) // operators' wishes are found by polling
	if looked {
		if err := c.discardLanes(ctx); err != nil {
			return err
		}
	}
	if c.busy() {
		return nil
	}
	if b := c.again; b != nil {
		c.again = nil
		c.send(b)
		return nil
	}
	if looked {
		wished, err := c.wished(ctx)
		if err != nil {
			return err
		}
		if wished {
			return nil
		}
	}
	if now.Before(c.breaker.next) {
		return nil
	}
	if c.holdsLog() { // what the plugin begins with probes, at its own pace
		if err := c.workReplay(ctx, now); err != nil || c.busy() {
			return err
		}
	} else if _, err := c.fill(ctx); err != nil {
		return err
	}
	// Lanes and the main stream take turns.
	for range 2 {
		c.probeLane = !c.probeLane
		var b *batch
		var err error
		if c.probeLane {
			b, err = c.nextLane(ctx)
		} else {
			b = c.nextKey()
		}
		if err != nil {
			return err
		}
		if b != nil {
			c.send(b)
			return nil
		}
	}
	c.breaker.next = now.Add(heldWait) // nothing waits
	return nil
}

// nextKey takes the first event of the key of the main stream that follows the
// one that was probed last.
func (c *Consumer) nextKey() *batch {
	var first, next *item
	seen := map[string]bool{}
	for _, it := range c.window.items {
		if it.settled || seen[it.key] {
			continue
		}
		seen[it.key] = true
		if first == nil {
			first = it
		}
		if it.ev.Position > c.probedEvent {
			next = it
			break
		}
	}
	if next == nil {
		next = first
	}
	if next == nil {
		return nil
	}
	c.probedEvent = next.ev.Position
	return &batch{items: []*item{next}, probe: true}
}

// nextLane takes the head of the lane that follows the one that was probed last.
func (c *Consumer) nextLane(ctx context.Context) (*batch, error) {
	if c.lanes == 0 {
		return nil, nil
	}
	for _, after := range slices.Compact([]string{c.probedLane, ""}) {
		where, args := c.mine()
		// '0' follows '/' in ASCII, so this is the range of all the plugin's.
		lanes, err := readLanes(ctx, c.deps.Store.ReadSQL(), where+` AND id > ? AND id < ? AND parked = 0 ORDER BY id LIMIT 1`,
			append(args, c.laneID(after), c.cfg.Name+"0")...)
		if err != nil {
			return nil, err
		}
		if len(lanes) == 0 {
			continue
		}
		c.probedLane = lanes[0].Key
		return c.headOf(ctx, lanes[0])
	}
	return nil, nil
}

// headOf makes a probe of a lane's head; nil if the main stream has not come
// there yet.
func (c *Consumer) headOf(ctx context.Context, lane *Lane) (*batch, error) {
	q := c.laneQuery(lane.Key, lane.Head)
	q.Limit = 1
	if q.Until < lane.Head {
		return nil, nil
	}
	events, err := c.deps.Journal.Read(ctx, q)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	run := &laneRun{lane: lane}
	c.active[lane.Key] = run
	return &batch{items: []*item{{ev: events[0], key: lane.Key}}, run: run, probe: true}, nil
}

// wished delivers what an operator wants tried, at once: the head of one lane.
// Dead letters are found by poll.
func (c *Consumer) wished(ctx context.Context) (bool, error) {
	where, args := c.mine()
	lanes, err := readLanes(ctx, c.deps.Store.ReadSQL(), where+` AND next_at = 0 ORDER BY next_at LIMIT 1`, args...)
	if err != nil {
		return false, err
	}
	if len(lanes) == 0 {
		if lanes, err = c.releasedLanes(ctx, 1); err != nil {
			return false, err
		}
	}
	if len(lanes) == 0 {
		return false, nil
	}
	if err := c.heed(ctx, lanes); err != nil || lanes[0].Discard > 0 {
		return false, err // discardLanes does it
	}
	b, err := c.headOf(ctx, lanes[0])
	if b == nil || err != nil {
		return false, err
	}
	c.breaker.probes = 0 // the operator may know that it is mended
	c.send(b)
	return true, nil
}
