package fanout

import (
	"context"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// item is an event on its way to the plugin.
type item struct {
	ev      *event.Event
	key     string
	settled bool // or handed to a lane: the cursor may pass it
	flying  bool
	agains  int // calls that ended with "again", in a row
	// covers are older events of the key that this one's verdict settles.
	covers []*item
	place  replayPlace // in its replay, if it is of one
}

// settle makes the cursor pass the event, and those that it stands for.
func (it *item) settle() {
	it.settled, it.agains = true, 0
	for _, older := range it.covers {
		older.settled = true
	}
}

// release makes the event, and those that it was to cover, wait again.
func (it *item) release() {
	it.flying = false
	for _, older := range it.covers {
		older.flying = false
	}
	it.covers = nil
}

// release makes an event wait again. A lane reads its events anew, and until
// then needs to know for which ones this one stood.
func (b *batch) release(it *item) {
	if b.run == nil {
		it.release()
	}
}

// first is the position of the oldest event that it stands for.
func (it *item) first() int64 {
	position := it.ev.Position
	for _, older := range it.covers {
		position = min(position, older.ev.Position)
	}
	return position
}

func (it *item) size() int { return len(it.ev.Evidence.Body) }

// window is what was read of the journal beyond the cursor, in order.
type window struct {
	items    []*item
	bytes    int
	frontier int64 // the last position read
	prefix   int64 // everything up to here is settled or a lane's
}

func (w *window) room(l limits) bool {
	return len(w.items) < l.windowEvents && w.bytes < l.windowBytes
}

// advance drops what is settled from the front. What lies behind the first
// unsettled event stays, settled or not.
func (w *window) advance() {
	n := 0
	for n < len(w.items) && w.items[n].settled {
		w.prefix = w.items[n].ev.Position
		w.bytes -= w.items[n].size()
		n++
	}
	if n > 0 {
		w.items = append(w.items[:0:0], w.items[n:]...)
	}
	if len(w.items) == 0 {
		w.prefix = w.frontier
	}
}

// giveTo hands all waiting events of key to its lane.
func (w *window) giveTo(key string) {
	for _, it := range w.items {
		if it.key == key {
			it.settled = true
		}
	}
}

// fill reads on in the journal while there is room. It reports whether there
// may be more.
func (c *Consumer) fill(ctx context.Context) (more bool, err error) {
	if !c.window.room(c.limits) {
		return false, nil
	}
	events, frontier, err := c.readOn(ctx)
	if err != nil {
		return false, err
	}
	if frontier == c.window.frontier {
		return false, nil
	}
	items := make([]*item, 0, len(events))
	for _, ev := range events {
		if c.matcher.Match(ev.Type) {
			items = append(items, &item{ev: ev, key: c.keyOf(ev)})
		}
	}
	blocked, err := c.blockedKeys(ctx, items)
	if err != nil {
		return false, err
	}
	for _, it := range items {
		if _, ok := blocked[it.key]; ok {
			// Below the lane's head the key is settled, from there on it is the
			// lane's. Either way the main stream has nothing to do.
			if run := c.active[it.key]; run != nil {
				run.skipped = it.ev.Position
			}
			continue
		}
		if c.floors.settled(it.ev) {
			continue
		}
		c.window.items = append(c.window.items, it)
		c.window.bytes += it.size()
	}
	c.window.frontier = frontier
	c.window.advance()
	return true, nil
}

// readOn reads what comes next in the journal, and tells up to where.
func (c *Consumer) readOn(ctx context.Context) (events []*event.Event, frontier int64, err error) {
	q := journal.Query{After: c.window.frontier, Limit: c.limits.readEvents, MaxBytes: c.limits.readBytes, Part: c.part(), Whole: true}
	frontier = c.window.frontier
	if c.wanted != "" {
		if q.Until = c.until; q.Until <= frontier {
			return nil, frontier, nil
		}
	}
	if q.Part != nil {
		// What lies between events of this partition is passed over, too. The last
		// position is asked first, so that everything up to it can be seen.
		last, err := c.deps.Journal.Last(ctx)
		if err != nil || last <= frontier {
			return nil, frontier, err
		}
		if q.Until == 0 || q.Until > last {
			q.Until = last
		}
	}
	if events, err = c.deps.Journal.Read(ctx, q); err != nil {
		return nil, frontier, err
	}
	bytes := 0
	for _, ev := range events {
		frontier, bytes = ev.Position, bytes+len(ev.Evidence.Body)
	}
	if q.Part != nil && len(events) < q.Limit && bytes < q.MaxBytes {
		frontier = q.Until
	}
	return events, frontier, nil
}

// keyOf is the key within which the plugin asked for order.
func (c *Consumer) keyOf(ev *event.Event) string {
	switch c.order {
	case plugin.PerSubject:
		return ev.Subject()
	case plugin.Total:
		return totalKey
	default:
		return ev.TenantKey()
	}
}

const totalKey = "all"

// laneQuery reads a key's own events, up to where the main stream has come.
func (c *Consumer) laneQuery(key string, from int64) journal.Query {
	q := journal.Query{After: from - 1, Until: c.window.frontier, Limit: c.limits.batchEvents, MaxBytes: c.limits.batchBytes, Types: c.types, Whole: true}
	lane := journal.TenantLane
	switch c.order {
	case plugin.Total:
		return q
	case plugin.PerSubject:
		lane = journal.SubjectLane
	}
	q.Lane, q.Key = &lane, key
	return q
}

// batch is one call to the plugin.
type batch struct {
	all   []*item // as picked
	items []*item // as sent, and judged
	// settled were found to have a committed verdict already, left did not fit.
	settled   []*item
	left      []*item
	oversized int // bytes of the first event, if it is too large to be sent
	states    map[string]keyState
	run       *laneRun      // set: a lane's batch
	replay    *replayRun    // set: a replay's batch
	letters   []*DeadLetter // set: dead letters that an operator retries, by item
	trial     *trial        // set: these are suspects
	exclusive bool          // nothing else of this consumer is under way
	quiet     bool          // nor was anything else of the process
	probe     bool          // the breaker is open
	hash      string        // of the configuration in force when it was sent
	sent      time.Time
	resp      *pluginpb.DeliverResponse
	err       error
}

// aside tells that the call is not one of the main stream.
func (b *batch) aside() bool { return b.run != nil || b.letters != nil || b.trial != nil }

// knownBad tells that the event has failed before: that it fails again says
// nothing new about the plugin. When all others are done, those that cannot
// succeed are all that is tried.
func (b *batch) knownBad(it *item) bool {
	return b.run != nil && b.run.lane.Attempts > 0 && it.first() == b.run.lane.Head
}

// releaseAll makes all of a batch wait again.
func (b *batch) releaseAll() {
	for _, it := range b.items {
		b.release(it)
	}
}

// pick takes the next events of the main stream that may be delivered now.
func (c *Consumer) pick() *batch {
	b := &batch{}
	size := 0
	newest := map[string]*item{} // of this batch, for plugins that coalesce
	held := map[string]bool{}    // keys that must not go on in this batch
	suspects := c.onTrial()
	for _, it := range c.window.items {
		if it.settled || it.flying || c.flying[it.key] || held[it.key] || suspects[it.key] {
			continue
		}
		if c.cfg.Park && !c.coalesce {
			// A plugin goes on after it has rejected an event. This key must not.
			held[it.key] = true
		}
		if c.coalesce {
			if last := newest[it.key]; last != nil && last.agains == 0 {
				it.covers = append(append(it.covers, last.covers...), last)
				last.covers = nil
				newest[it.key] = it
				continue
			} else if last != nil {
				held[it.key] = true // "again" is about the older event
				continue
			}
		}
		if len(b.items)+len(newest) > 0 && size+it.size() > c.limits.batchBytes {
			break
		}
		size += it.size()
		if c.coalesce {
			newest[it.key] = it
			if len(newest) >= c.limits.batchEvents {
				break
			}
			continue
		}
		b.items = append(b.items, it)
		if len(b.items) >= c.limits.batchEvents {
			break
		}
	}
	if c.coalesce {
		for _, it := range c.window.items {
			if newest[it.key] == it {
				b.items = append(b.items, it)
			}
		}
	}
	if len(b.items) == 0 {
		return nil
	}
	return b
}

// blockedKeys returns which of the items' keys are lanes, with their heads.
func (c *Consumer) blockedKeys(ctx context.Context, items []*item) (map[string]int64, error) {
	if c.lanes == 0 || len(items) == 0 {
		return nil, nil
	}
	var keys []string
	known := map[string]bool{}
	for _, it := range items {
		if !known[it.key] {
			known[it.key] = true
			keys = append(keys, it.key)
		}
	}
	blocked, err := c.laneHeads(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("look for blocked keys: %w", err)
	}
	return blocked, nil
}
