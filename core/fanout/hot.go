package fanout

import (
	"context"

	"github.com/avhub/avhub/core/plugin"
)

// sideline makes a lane of a key that fills the window while events of others
// wait behind it. The lane works off its events by itself, and the main stream
// passes over them.
func (c *Consumer) sideline(ctx context.Context) error {
	if c.sidelined != nil { // whether this was committed is not known
		if err := c.commit(ctx, &changes{lanes: []*Lane{c.sidelined.lane}}); err != nil {
			return err
		}
		c.toLane(c.sidelined)
		c.sidelined = nil
	}
	if c.order == plugin.Total || c.window.room(c.limits) {
		return nil
	}
	first := c.hottest()
	if first == nil || c.flying[first.key] || c.onTrial()[first.key] {
		return nil
	}
	last, err := c.deps.Journal.Last(ctx)
	if err != nil || last <= c.window.frontier {
		return err
	}
	lane := &Lane{Plugin: c.cfg.Name, Key: first.key, Head: first.ev.Position, NextAt: c.deps.Now()}
	c.turn++
	run := &laneRun{lane: lane, turn: c.turn}
	for _, it := range c.window.items { // it may have stood for older ones
		if it.key == first.key && !it.settled && it.agains > 0 {
			run.agains, run.again = it.agains, it.ev.Position
		}
	}
	// The row must be there before the cursor passes the first of its events.
	c.sidelined = run
	if err := c.commit(ctx, &changes{lanes: []*Lane{lane}}); err != nil {
		return err
	}
	c.sidelined = nil
	c.toLane(run)
	c.deps.Log.Info().Str("key", first.key).Msg("this key has so many events waiting that it catches up beside the others")
	return nil
}

// toLane takes a key out of the main stream whose lane is stored.
func (c *Consumer) toLane(run *laneRun) {
	c.active[run.lane.Key] = run
	c.lanes++
	c.window.giveTo(run.lane.Key)
	c.window.advance()
}

// hottest returns the first unsettled event of the key that has more than its
// share of the window, a quarter; nil if none has.
func (c *Consumer) hottest() *item {
	type share struct {
		first         *item
		events, bytes int
	}
	shares := map[string]*share{}
	var most *share
	for _, it := range c.window.items {
		if it.settled {
			continue
		}
		s := shares[it.key]
		if s == nil {
			s = &share{first: it}
			shares[it.key] = s
		}
		s.events++
		s.bytes += it.size()
		if most == nil || s.events > most.events {
			most = s
		}
		if s.bytes > c.limits.windowBytes/4 {
			return s.first
		}
	}
	if most == nil || most.events <= c.limits.windowEvents/4 {
		return nil
	}
	return most.first
}
