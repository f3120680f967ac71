package fanout

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Lane is a blocked key of a plugin. Its events wait from Head on.
type Lane struct {
	Plugin   string    `json:"plugin"`
	Key      string    `json:"key"`
	Head     int64     `json:"head"`     // position of the first unsettled event
	Attempts int       `json:"attempts"` // failed ones; throttled ones do not count
	Since    time.Time `json:"since"`    // when the head first failed
	NextAt   time.Time `json:"next_at"`
	Error    string    `json:"last_error"`
	History  []Failure `json:"history,omitempty"`
	// Discard is the position of the event that an operator gave up; 0: none.
	Discard int64 `json:"-"`
}

// Failure is one failed attempt.
type Failure struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"`
}

func (l *Lane) fail(at time.Time, reason string) {
	l.Error = reason
	l.History = append(l.History, Failure{at, reason})
	if extra := len(l.History) - historyKept; extra > 0 {
		l.History = l.History[extra:]
	}
}

// laneRun is a lane that is being worked on.
type laneRun struct {
	lane    *Lane
	agains  int       // of the head, in a row
	again   int64     // the event that asked for it: it may stand for older ones
	blocked bool      // the head failed again: the run is over
	wait    time.Time // nothing to do before
	// idle: the lane has settled everything up to position seen. If the main
	// stream passes over one of its events later, skipped tells where.
	idle    bool
	seen    int64
	skipped int64
}

// block makes an event's key wait after a failure: in a new lane, or longer in
// the lane that run works on. It reports true, and adds a dead letter, if the
// event has had its time.
func (c *Consumer) block(run *laneRun, it *item, reason string, v *pluginpb.Verdict, now time.Time, ch *changes) (dead bool) {
	lane := &Lane{Plugin: c.cfg.Name, Key: it.key, Head: it.first(), Since: now}
	if run != nil {
		if it.first() != run.lane.Head { // another event than the one that failed before
			run.lane.Attempts, run.lane.Since, run.lane.History = 0, now, nil
			run.lane.Head = it.first()
		}
		if run.lane.Since.IsZero() {
			run.lane.Since = now
		}
		lane = run.lane
	}
	lane.fail(now, reason)
	if v.GetThrottled() {
		lane.NextAt = now.Add(throttle(time.Duration(v.GetRetryAfterMs()) * time.Millisecond))
	} else {
		if lane.Attempts++; lane.Attempts == 1 {
			lane.Since = now // the time that it was throttled does not count either
		}
		if now.Sub(lane.Since) >= c.cfg.RetryFor {
			ch.letters = append(ch.letters, c.deadLetter(it, reason, run, now))
			return true
		}
		lane.NextAt = now.Add(c.deps.Backoff(lane.Attempts))
	}
	if c.due.IsZero() || lane.NextAt.Before(c.due) {
		c.due = lane.NextAt
	}
	if run != nil {
		run.blocked = true
		return false
	}
	ch.lanes = append(ch.lanes, lane)
	c.lanes++
	it.settle() // it is the lane's now, as is everything behind it
	c.window.giveTo(it.key)
	return false
}

// moveLane brings a lane forward after one of its batches.
func (c *Consumer) moveLane(b *batch, ch *changes) {
	run := b.run
	before := run.lane.Head
	for _, it := range b.all {
		if !it.settled {
			run.lane.Head = it.first()
			run.agains, run.again = it.agains, it.ev.Position
			break
		}
		run.lane.Head = it.ev.Position + 1
		run.agains = 0
	}
	switch {
	case run.blocked:
		delete(c.active, run.lane.Key)
	case run.lane.Head > before:
		run.lane.Attempts, run.lane.Error, run.lane.History, run.lane.Since = 0, "", nil, time.Time{}
	case run.agains == 0: // nothing was attempted
		run.wait = c.deps.Now().Add(heldWait)
	}
	ch.lanes = append(ch.lanes, run.lane)
}

// workLanes takes up lanes that are due and brings forward those that it works
// on.
func (c *Consumer) workLanes(ctx context.Context, now time.Time) error {
	if c.lanes > 0 && (c.polled.Equal(now) || !c.due.IsZero() && !now.Before(c.due)) {
		if err := c.takeUp(ctx, now); err != nil {
			return err
		}
	}
	for _, run := range c.active {
		if c.runs >= c.limits.lanesInFlight {
			return nil
		}
		if c.flying[run.lane.Key] || run.idle || now.Before(run.wait) {
			continue
		}
		if err := c.goOn(ctx, run); err != nil {
			return err
		}
	}
	return nil
}

func (c *Consumer) takeUp(ctx context.Context, now time.Time) error {
	room := c.limits.lanesAtWork - len(c.active)
	if room <= 0 {
		c.due = now // looked at again when a call comes back
		return nil
	}
	limit := room + len(c.active) // those at work may be among them
	where, args := c.mine()
	due, err := readLanes(ctx, c.deps.Store.ReadSQL(), where+` AND (next_at <= ? OR discard > 0) ORDER BY next_at LIMIT ?`,
		append(args, now.UnixMicro(), limit)...)
	if err != nil {
		return err
	}
	c.due = time.Time{}
	if len(due) == limit {
		c.due = now // there may be more
	}
	for _, lane := range due {
		if c.active[lane.Key] == nil && len(c.active) < c.limits.lanesAtWork {
			c.active[lane.Key] = &laneRun{lane: lane}
		}
	}
	return nil
}

// goOn delivers the next events of a lane, or finds that there are none.
func (c *Consumer) goOn(ctx context.Context, run *laneRun) error {
	lane := run.lane
	q := c.laneQuery(lane.Key, lane.Head)
	var items []*item
	if q.Until >= lane.Head {
		events, err := c.deps.Journal.Read(ctx, q)
		if err != nil {
			return err
		}
		for _, ev := range events {
			items = append(items, &item{ev: ev, key: lane.Key})
		}
	}
	if len(items) == 0 {
		run.idle, run.seen, run.skipped = true, q.Until, 0
		return nil
	}
	if lane.Discard > 0 && items[0].ev.Position <= lane.Discard {
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

// discard gives up a lane's head on an operator's word.
func (c *Consumer) discard(ctx context.Context, run *laneRun, it *item) error {
	lane := *run.lane
	lane.Head, lane.Discard = it.ev.Position+1, 0
	lane.Attempts, lane.Error, lane.History, lane.Since = 0, "", nil, time.Time{}
	lane.NextAt = c.deps.Now() // the wait was the given up event's
	states, err := c.loadStates(ctx, []string{lane.Key})
	if err != nil {
		return err
	}
	state := states[lane.Key]
	state.position = max(state.position, it.ev.Position)
	err = c.commit(ctx, &changes{
		states: map[string]keyState{lane.Key: state},
		lanes:  []*Lane{&lane},
		done:   []Delivery{{Plugin: c.cfg.Name, Event: it.ev, Verdict: "discarded", Reason: run.lane.Error}},
	})
	if err == nil {
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

func (c *Consumer) laneID(key string) string { return c.cfg.Name + "/" + key }

func (c *Consumer) laneHeads(ctx context.Context, keys []string) (map[string]int64, error) {
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = c.laneID(key)
	}
	heads := map[string]int64{}
	err := c.deps.Store.ReadSQL().In(ctx, func(rows *sql.Rows) error {
		var key string
		var head int64
		if err := rows.Scan(&key, &head); err != nil {
			return err
		}
		heads[key] = head
		return nil
	}, `SELECT key, head FROM avhub_lanes WHERE id IN %s`, ids)
	return heads, err
}

const laneColumns = `plugin, key, head, attempts, since, next_at, last_error, history, discard`

func readLanes(ctx context.Context, db store.SQL, where string, args ...any) ([]*Lane, error) {
	var lanes []*Lane
	err := db.Query(ctx, func(rows *sql.Rows) error {
		l := &Lane{}
		var since, next int64
		var history []byte
		if err := rows.Scan(&l.Plugin, &l.Key, &l.Head, &l.Attempts, &since, &next, &l.Error, &history, &l.Discard); err != nil {
			return err
		}
		if since > 0 {
			l.Since = time.UnixMicro(since).UTC()
		}
		l.NextAt = time.UnixMicro(next).UTC()
		if len(history) > 0 {
			if err := json.Unmarshal(history, &l.History); err != nil {
				return fmt.Errorf("history of lane %s: %w", l.Key, err)
			}
		}
		lanes = append(lanes, l)
		return nil
	}, `SELECT `+laneColumns+` FROM avhub_lanes WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read blocked lanes: %w", err)
	}
	return lanes, nil
}
