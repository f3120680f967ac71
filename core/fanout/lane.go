package fanout

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/avhub/avhub/core/store"
)

// Lane is a key of a plugin that goes its own way: because its first event
// failed, or because it had more events waiting than others should wait for. Its
// events wait from Head on.
type Lane struct {
	Plugin string `json:"plugin"`
	Key    string `json:"key"`
	// State is LaneBlocked, LaneParked or LaneCatchingUp.
	State    string    `json:"state"`
	Head     int64     `json:"head"`             // position of the first unsettled event
	Attempts int       `json:"attempts"`         // failed ones; throttled ones do not count
	Since    time.Time `json:"since,omitzero"`   // when the head first failed
	NextAt   time.Time `json:"next_at,omitzero"` // never, of a parked one
	Error    string    `json:"last_error"`
	History  []Failure `json:"history,omitempty"`
	// Spent is how much of retry_for the head has used up.
	Spent time.Duration `json:"-"`
	// FailedAt is when the wait began that counts for Spent; zero: it does not.
	FailedAt time.Time `json:"-"`
	// Parked is the position of the dead letter that keeps the lane from going on;
	// 0: none does.
	Parked int64 `json:"parked,omitempty"`
	// Discard is the position of the last event that an operator gave up; 0: none.
	Discard int64 `json:"-"`
}

// The states of a lane.
const (
	// LaneBlocked: its head failed and is tried again at NextAt.
	LaneBlocked = "blocked"
	// LaneParked: its head was given up, and the lane waits for an operator.
	LaneParked = "parked"
	// LaneCatchingUp: it works off its events beside the main stream.
	LaneCatchingUp = "catching up"
)

func (l *Lane) state() string {
	switch {
	case l.Parked > 0:
		return LaneParked
	case l.Error == "":
		return LaneCatchingUp
	default:
		return LaneBlocked
	}
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

// clear forgets the failures of an event that is the head no longer.
func (l *Lane) clear() {
	l.Attempts, l.Error, l.History, l.Since = 0, "", nil, time.Time{}
	l.Spent, l.FailedAt = 0, time.Time{}
}

func (l *Lane) tally() tally { return tally{l.Attempts, l.Spent, l.FailedAt, l.NextAt} }

func (l *Lane) set(t tally) {
	l.Attempts, l.Spent, l.FailedAt, l.NextAt = t.attempts, t.spent, t.failedAt, t.nextAt
}

// laneRun is a lane that is being worked on.
type laneRun struct {
	lane    *Lane
	agains  int       // of the head, in a row
	again   int64     // the event that asked for it: it may stand for older ones
	blocked bool      // the head failed again: the run is over
	wait    time.Time // nothing to do before
	turn    int       // when it was served last: the lanes take turns
	// idle: the lane has settled everything up to position seen. If the main
	// stream passes over one of its events later, skipped tells where.
	idle    bool
	seen    int64
	skipped int64
}

// failure is an attempt that makes its key wait.
type failure struct {
	reason    string
	throttled bool
	after     time.Duration // what the outside asked for
	earlier   []Failure     // that led to this one and are not in any lane
}

// block makes an event's key wait after a failure: in a new lane, or longer in
// the lane that run works on. An event that has had its time is given up. It
// returns what is said of the event.
func (c *Consumer) block(run *laneRun, it *item, f failure, now time.Time, ch *changes) string {
	lane := &Lane{Plugin: c.cfg.Name, Key: it.key, Head: it.first(), Since: now}
	if run != nil {
		lane = run.lane
		if it.first() != lane.Head { // another event than the one that failed before
			lane.clear()
			lane.Head = it.first()
			c.unpark(lane, ch)
		}
		if lane.Since.IsZero() {
			lane.Since = now
		}
	}
	for _, e := range f.earlier {
		lane.fail(e.At, e.Error)
	}
	lane.fail(now, f.reason)
	if f.throttled {
		lane.set(c.policy.throttled(lane.tally(), now, f.after, c.breaker.still()))
	} else {
		if lane.Attempts == 0 {
			lane.Since = now // the time that it was throttled does not count either
		}
		t, dead := c.policy.failed(lane.tally(), now, c.breaker.still())
		lane.set(t)
		// What is parked was given up before: an operator's retry is one attempt.
		if dead || lane.Parked > 0 {
			return c.giveUp(run, it, f.reason, nil, now, ch)
		}
	}
	if c.due.IsZero() || lane.NextAt.Before(c.due) {
		c.due = lane.NextAt
	}
	if run != nil {
		run.blocked = true
	} else {
		c.addLane(lane, it, ch)
	}
	return verdictRetry
}

// addLane takes a key out of the main stream.
func (c *Consumer) addLane(lane *Lane, it *item, ch *changes) {
	ch.lanes = append(ch.lanes, lane)
	c.lanes++
	it.settle() // it is the lane's now, as is everything behind it
	c.window.giveTo(it.key)
}

// unpark removes the dead letter that a lane has left behind.
func (c *Consumer) unpark(lane *Lane, ch *changes) {
	if lane.Parked > 0 && lane.Head > lane.Parked {
		ch.unparked = append(ch.unparked, lane.Parked)
		lane.Parked = 0
	}
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
	c.unpark(run.lane, ch)
	switch {
	case run.blocked:
		delete(c.active, run.lane.Key)
	case run.lane.Head > before:
		run.lane.clear()
		run.lane.NextAt = c.deps.Now()                                   // behind all other lanes that are due
		if c.crowded && run.agains == 0 && len(b.all) >= c.laneBatch() { // it has more
			delete(c.active, run.lane.Key)
		}
	default: // nothing was settled
		if run.agains == 0 {
			run.wait = c.deps.Now().Add(heldWait)
		}
		if c.breaker.isOpen() {
			delete(c.active, run.lane.Key)
		}
		return
	}
	if c.breaker.isOpen() {
		delete(c.active, run.lane.Key)
	}
	ch.lanes = append(ch.lanes, run.lane)
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

const laneColumns = `plugin, key, head, attempts, since, next_at, spent, failed_at, parked, last_error, history, discard`

func readLanes(ctx context.Context, db store.SQL, where string, args ...any) ([]*Lane, error) {
	var lanes []*Lane
	err := db.Query(ctx, func(rows *sql.Rows) error {
		l := &Lane{}
		var since, next, spent, failed int64
		var history []byte
		if err := rows.Scan(&l.Plugin, &l.Key, &l.Head, &l.Attempts, &since, &next, &spent, &failed, &l.Parked, &l.Error, &history, &l.Discard); err != nil {
			return err
		}
		if since > 0 {
			l.Since = time.UnixMicro(since).UTC()
		}
		if failed > 0 {
			l.FailedAt = time.UnixMicro(failed).UTC()
		}
		l.NextAt, l.Spent = time.UnixMicro(next).UTC(), time.Duration(spent)*time.Microsecond
		l.State = l.state()
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
