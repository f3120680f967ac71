package fanout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/core/store"
)

// Consumer delivers the journal's events to one plugin, or to one of its
// partitions.
type Consumer struct {
	cfg  Config
	deps Deps

	// Set by start.
	order    plugin.Order
	wanted   plugin.Order // instead, once nothing depends on order any more; empty: none
	until    int64        // up to where events are delivered before that
	coalesce bool
	counts   bool // organizations come with what belongs to them
	body     bool // the plugin asks for the bytes as they were sent
	types    []string
	// stateSchema is what the plugin says that its states look like; it may be empty.
	stateSchema []byte
	matcher     event.Matcher
	lease       *Lease
	floors      floors
	cursor      int64 // as stored
	stands      standstill
	flushed     time.Time
	status      string    // as stored
	seen        time.Time // when this hub last stored anything in the cursor

	policy   policy
	breaker  breaker
	trials   []*trial // calls to make to find out what keeps calls from ending
	proving  bool     // one is in flight, and nothing else may be
	hanging  int      // those in flight that may hang
	deaths   int      // of the plugin, and hung calls, since it last answered
	hangs    int
	answered time.Time

	sidelined *laneRun // being stored

	again       *batch // the probe to send once more
	probeLane   bool   // the last probe was a lane's
	probedLane  string // the key of the last
	probedEvent int64  // the last of the main stream

	halting    sync.Mutex
	hash       string // of the configuration in force
	over       bool   // the consumer ends because the plugin has halted
	halted     string // why
	haltedHash string // under which configuration

	limits limits
	// How transactions and calls are run. A test puts itself between: to make
	// transactions fail, and to know when a call has come to a halt.
	inTx   func(ctx context.Context, fn func(ctx context.Context) error) error
	launch func(b *batch, call func())

	window  window
	flying  map[string]bool // keys in a call
	batches int             // calls of the main stream in flight
	runs    int             // calls of lanes and dead letters in flight
	letters int             // of these, those of dead letters
	// letterLimit is how many dead letters go into a call: fewer after calls that
	// ended without an answer.
	letterLimit int
	results     chan *batch
	unsaved     *changes            // settled in memory, but not in the database yet
	lanes       int                 // rows of this partition in avhub_lanes
	active      map[string]*laneRun // lanes that are being worked on
	due         time.Time           // when the next lane may be due
	crowded     bool                // more lanes are due than are taken up
	turn        int
	polled      time.Time
	counted     time.Time

	paused      bool // an operator wants no deliveries
	pauseReason string

	replay  *replayRun      // that this partition works on; nil: none
	closing []int64         // replays whose end is to be noted
	reads   chan replayRead // of replays

	more      bool      // there is more to read in the journal
	down      bool      // the plugin is not running
	notBefore time.Time // the main stream waits until then
}

// New returns a consumer; Run makes it work.
func New(cfg Config, deps Deps) *Consumer {
	if deps.Now == nil {
		deps.Now = store.Now
	}
	if deps.Company == nil {
		deps.Company = &Company{}
	}
	if deps.Metrics == nil {
		deps.Metrics = NewMetrics(nil)
	}
	probe := deps.Backoff
	if deps.Backoff == nil {
		probe = probePause
		deps.Backoff = func(attempts int) time.Duration { return backoff(attempts, jitter) }
	}
	cfg.Partitions = max(cfg.Partitions, 1)
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = callTimeout
	}
	deps.Log = deps.Log.With().Str("plugin", cfg.Name).Logger()
	c := &Consumer{
		cfg: cfg, deps: deps,
		limits: usualLimits(),
		inTx:   deps.Store.InTx,
		launch: func(_ *batch, call func()) { go call() },
		flying: map[string]bool{},
		active: map[string]*laneRun{},
	}
	c.letterLimit = c.limits.batchEvents
	c.results = make(chan *batch, c.limits.batchesInFlight+c.limits.lanesInFlight+1) // one of a replay
	c.reads = make(chan replayRead, 2)
	c.hash = cfg.ConfigHash
	c.breaker.pause = probe
	c.policy = policy{retryFor: cfg.RetryFor, backoff: deps.Backoff}
	return c
}

// Run delivers until ctx ends, then waits for the calls in flight and commits
// their verdicts. It returns nil after that, ErrFenced if its lease is over,
// and ErrHalted if the plugin asked to be stopped. Trouble with the database or
// the plugin never ends it. When it has returned, no call is in flight.
func (c *Consumer) Run(ctx context.Context) error {
	// A halt stands before the plugin runs at all: nothing needs to be asked.
	if err := c.persist(ctx, "claim the cursor", c.claim); err != nil {
		return ignoreEnd(ctx, err)
	}
	defer c.watchLease()()
	defer c.deps.Metrics.forget(c.cfg)
	defer c.deps.Company.yield(c)
	if err := c.waitBackfill(ctx); err != nil {
		return ignoreEnd(ctx, err)
	}
	for {
		if err := c.obey(ctx); err != nil {
			c.deps.Log.Warn().Err(err).Msg("could not read what operators want; trying again")
		}
		c.reportStatus(ctx)
		err := c.waitReady(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if !c.lease.held() {
			return ErrFenced
		}
	}
	if err := c.describe(); err != nil {
		return err
	}
	if err := c.persist(ctx, "look for another order of the plugin", c.former); err != nil {
		return ignoreEnd(ctx, err)
	}
	if err := c.persist(ctx, "store what the plugin gets", c.storeDescription); err != nil {
		return ignoreEnd(ctx, err)
	}
	if err := c.persist(ctx, "divide the plugin's keys", c.divide); err != nil {
		return ignoreEnd(ctx, err)
	}
	return ignoreEnd(ctx, c.loop(ctx))
}

// waitReady waits for the plugin, but not so long that its status goes
// unreported.
func (c *Consumer) waitReady(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, pollEvery)
	defer cancel()
	return c.deps.Plugin.WaitReady(short)
}

func (c *Consumer) describe() error {
	info, _ := c.deps.Plugin.Info()
	c.order, c.coalesce, c.counts, c.body = info.Order, info.Coalesce, info.Counts, info.Body
	c.stateSchema = info.StateSchema
	if c.types = c.cfg.Events; len(c.types) == 0 {
		c.types = info.Events
	}
	var err error
	if c.matcher, err = event.NewMatcher(c.types); err != nil {
		return fmt.Errorf("events of plugin %s: %w", c.cfg.Name, err)
	}
	return nil
}

// loop is the consumer's one thread: whatever happens to its memory or its
// rows happens here.
func (c *Consumer) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		wake := c.deps.Journal.Wake() // before reading, so that no event is missed
		company := c.deps.Company.wakes()
		if c.isHalted() {
			return c.finish(ErrHalted)
		}
		if err := c.persist(ctx, "read events for a plugin", c.work); err != nil {
			return c.finish(err)
		}
		timer.Reset(c.nextTick())
		select {
		case <-ctx.Done():
		case <-c.lease.Lost():
			return c.finish(ErrFenced)
		case <-wake:
		case <-company:
		case <-timer.C:
		case got := <-c.reads:
			c.takeRead(got)
		case b := <-c.results:
			if err := c.take(ctx, b); err != nil {
				return c.finish(err)
			}
			// Take what else has come back, so that one look at the journal serves
			// all of it.
			for more := true; more; {
				select {
				case b := <-c.results:
					if err := c.take(ctx, b); err != nil {
						return c.finish(err)
					}
				default:
					more = false
				}
			}
		}
	}
	return c.finish(ctx.Err())
}

// take settles what a call brought back.
func (c *Consumer) take(ctx context.Context, b *batch) error {
	c.unsaved = c.settle(b)
	// What the plugin said must be kept, whatever the database does: the calls
	// are done, and asking again would not be the same.
	return c.persist(ctx, "commit verdicts", c.save)
}

// save commits what was settled.
func (c *Consumer) save(ctx context.Context) error {
	err := c.commit(ctx, c.unsaved)
	if err == nil {
		c.unsaved = nil
	}
	return err
}

// settle moves the consumer's memory along with what a call brought back, and
// returns what is to be committed.
func (c *Consumer) settle(b *batch) *changes {
	for _, it := range b.all {
		it.flying = false
		delete(c.flying, it.key)
	}
	for _, it := range b.settled {
		it.settle()
	}
	for _, it := range b.left {
		it.release()
	}
	switch {
	case b.replay != nil:
	case b.aside():
		c.runs--
	default:
		c.batches--
	}
	if b.trial != nil && b.exclusive {
		c.proving = false
	} else if b.trial != nil {
		c.hanging--
	}
	if b.letters != nil {
		c.letters--
		c.polled = time.Time{} // there may be more of them to deliver
	}
	return c.judge(b)
}

// persist repeats fn until it works: a failing database delays, it never
// decides. It gives up when ctx ends or another hub has taken over.
func (c *Consumer) persist(ctx context.Context, what string, fn func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		work, cancel := c.deps.Store.Bound(context.WithoutCancel(ctx), store.Patience)
		err := fn(work)
		cancel()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrFenced), errors.Is(err, ErrHalted), errors.Is(err, ErrRedivide):
			return err
		case ctx.Err() != nil:
			return err
		}
		if attempt == 1 || attempt%20 == 0 {
			c.deps.Log.Error().Err(err).Int("attempt", attempt).Msg("could not " + what + "; trying again")
		}
		wait := min(100*time.Millisecond<<min(attempt, 6), 5*time.Second)
		select {
		case <-ctx.Done():
			return err
		case <-c.lost():
			return ErrFenced
		case <-time.After(wait):
		}
	}
}
