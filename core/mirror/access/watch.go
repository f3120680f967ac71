package access

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

const (
	// trust is how long an answer of the database that nothing has changed is
	// good for.
	trust = time.Second
	// maxCatchUp is how many events of others are looked at one by one; of more,
	// everything is taken to have changed.
	maxCatchUp = 256

	// positionCounter is the journal's counter in avhub_counters.
	positionCounter = "journal"
)

// watch is how far the journal is accounted for.
type watch struct {
	begin  time.Time
	asked  atomic.Int64 // when the database was last asked, nanoseconds after begin; negative: never
	asking chan struct{}

	epoch int64 // of the one who asks

	mu       sync.Mutex
	position int64
}

func newWatch(now time.Time) *watch {
	w := &watch{begin: now, asking: make(chan struct{}, 1), position: -1}
	w.asked.Store(-1)
	return w
}

// Committing is for the hub's journal to call within the transaction that
// commits events, after the mirror has set their Changes and before the commit,
// and what it returns when the transaction has ended: committed tells that it
// surely was committed. It does not block.
func (c *Checker) Committing(events []*event.Event) (ended func(committed bool)) {
	var t touched
	for _, ev := range events {
		c.touch(&t, ev.Changes, ev.ChangesOmitted)
		if ev.Type == event.TypeTenantDeleted {
			c.touchTenant(&t, ev)
		}
	}
	c.stamps.begin(t)
	return func(committed bool) {
		c.stamps.end(t)
		if committed && len(events) > 0 {
			c.watch.follow(events[0].Position, events[len(events)-1].Position)
		}
	}
}

// follow takes positions that are accounted for. If others committed between,
// they are left to the next look at the journal.
func (w *watch) follow(first, last int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if first == w.position+1 {
		w.position = last
	}
}

// refresh sees to it that everything that was committed a second ago, by
// whomever, is accounted for. One caller asks; the others wait for it.
func (c *Checker) refresh(ctx context.Context) error {
	if c.recent() {
		return nil
	}
	select {
	case c.watch.asking <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait to hear whether access has changed: %w", ctx.Err())
	}
	defer func() { <-c.watch.asking }()
	if c.recent() {
		return nil
	}
	at := c.now().Sub(c.watch.begin)
	if err := c.ask(ctx); err != nil {
		return fmt.Errorf("ask whether access has changed: %w", err)
	}
	c.watch.asked.Store(int64(at))
	return nil
}

func (c *Checker) recent() bool {
	asked := c.watch.asked.Load()
	return asked >= 0 && c.now().Sub(c.watch.begin)-time.Duration(asked) < trust
}

// ask accounts for what was committed since it was last called. Only one call
// runs at a time.
func (c *Checker) ask(ctx context.Context) error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	c.watch.mu.Lock()
	from := c.watch.position
	c.watch.mu.Unlock()
	position, epoch, err := c.counters(ctx)
	if err != nil {
		return err
	}
	t := touched{everything: from < 0 || epoch != c.watch.epoch || position < from || position-from > maxCatchUp}
	if !t.everything && position > from {
		if t, err = c.between(ctx, from, position); err != nil {
			return err
		}
	}
	if t.everything || len(t.tags) > 0 {
		c.stamps.change(t)
	}
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	c.watch.epoch = epoch
	if c.watch.position == from { // else follow has gone on, and the next look covers the rest
		c.watch.position = position
	}
	return nil
}

func (c *Checker) counters(ctx context.Context) (position, epoch int64, err error) {
	err = c.store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var counter string
		var value int64
		if err := rows.Scan(&counter, &value); err != nil {
			return err
		}
		if counter == positionCounter {
			position = value
		} else {
			epoch = value
		}
		return nil
	}, `SELECT name, value FROM avhub_counters WHERE name IN (?, ?)`, positionCounter, mirror.EpochCounter)
	return position, epoch, err
}

// between is what the events after one position and up to another changed.
func (c *Checker) between(ctx context.Context, after, until int64) (t touched, err error) {
	found := int64(0)
	err = c.store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		found++
		var channel string
		var text, body []byte
		var omitted int
		if err := rows.Scan(&channel, &text, &omitted, &body); err != nil {
			return err
		}
		var changes []event.Change
		if len(text) > 0 {
			if err := json.Unmarshal(text, &changes); err != nil {
				t.everything = true // changed by hand; safe is safe
			}
		}
		c.touch(&t, changes, omitted)
		if body != nil {
			if ev, err := event.DecodeBody(event.Channel(channel), body); err != nil {
				t.everything = true
			} else {
				c.touchTenant(&t, ev)
			}
		}
		return nil
	}, `SELECT channel, changes, changes_omitted, CASE WHEN type = ? THEN body END FROM avhub_events
 WHERE position > ? AND position <= ?`, event.TypeTenantDeleted, after, until)
	if found != until-after {
		t.everything = true // some are not kept any more
	}
	return t, err
}
