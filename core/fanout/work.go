package fanout

import (
	"context"
	"slices"
	"time"
)

// work starts all calls that can be started now.
func (c *Consumer) work(ctx context.Context) error {
	now := c.deps.Now()
	if now.Sub(c.polled) >= pollEvery {
		if err := c.poll(ctx); err != nil {
			return err
		}
		c.polled = now
	}
	c.more = false
	if c.sidelined != nil {
		if err := c.sideline(ctx); err != nil {
			return err
		}
	}
	if c.paused {
		c.deps.Company.yield(c)
		return c.rest(ctx)
	}
	if !c.ready(ctx) {
		c.deps.Company.yield(c)
		return c.flush(ctx, now)
	}
	if c.breaker.isOpen() {
		c.deps.Company.yield(c)
		if c.deps.Company.claimed(c) {
			return c.flush(ctx, now)
		}
		if err := c.probe(ctx, now); err != nil {
			return err
		}
		return c.flush(ctx, now)
	}
	alone := c.tryTrials()
	if !alone {
		if err := c.workLanes(ctx, now); err != nil {
			return err
		}
	}
	if err := c.sideline(ctx); err != nil {
		return err
	}
	for reads := 0; ; {
		var err error
		if c.holdsLog() {
			c.more = false
		} else if c.more, err = c.fill(ctx); err != nil {
			return err
		}
		if !alone {
			c.dispatch()
		}
		if reads++; !c.more || reads >= readsAtOnce {
			break
		}
	}
	if !alone {
		if err := c.workReplay(ctx, now); err != nil {
			return err
		}
	}
	if err := c.handBack(ctx); err != nil {
		return err
	}
	if err := c.outgrown(ctx); err != nil {
		return err
	}
	if !alone && c.crowded && c.laneRoom() > 0 && c.runs < c.limits.lanesInFlight {
		c.more = true // lanes that went back have made room for others
	}
	return c.flush(ctx, now)
}

// ready tells whether the plugin takes deliveries. After it went down, it looks
// again for a moment.
func (c *Consumer) ready(ctx context.Context) bool {
	if c.down {
		short, cancel := context.WithTimeout(ctx, downEvery)
		defer cancel()
		c.down = c.deps.Plugin.WaitReady(short) != nil
	}
	return !c.down
}

// flush stores the cursor now and then, when nothing else does.
func (c *Consumer) flush(ctx context.Context, now time.Time) error {
	if c.window.prefix > c.cursor && (c.window.prefix-c.cursor >= c.limits.flushEvents || now.Sub(c.flushed) >= flushEvery) {
		return c.commit(ctx, &changes{})
	}
	return c.noteAhead(ctx, now)
}

// alone tells that suspects, of this partition or another one, wait to be
// delivered while nothing else is under way.
func (c *Consumer) alone() bool {
	return c.searches() || c.proving || c.deps.Company.claimed(c)
}

// searches tells whether there are suspects of a death.
func (c *Consumer) searches() bool {
	return slices.ContainsFunc(c.trials, func(t *trial) bool { return t.died })
}

func (c *Consumer) dispatch() {
	if c.deps.Now().Before(c.notBefore) {
		return
	}
	for c.batches < c.limits.batchesInFlight {
		b := c.pick()
		if b == nil {
			return
		}
		c.send(b)
	}
}

func (c *Consumer) nextTick() time.Duration {
	wait := pollEvery
	now := c.deps.Now()
	if c.more {
		return 0
	}
	times := []time.Time{c.due, c.notBefore, c.replayDue(now)}
	if c.breaker.isOpen() {
		times = []time.Time{c.breaker.next}
	}
	for _, at := range times {
		if at.After(now) {
			wait = min(wait, at.Sub(now))
		}
	}
	switch {
	case c.down:
		wait = min(wait, downEvery)
	case c.window.prefix > c.cursor, c.batches > 0 && len(c.window.items) > 0:
		wait = min(wait, flushEvery)
	}
	return wait
}
