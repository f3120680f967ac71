package fanout

import (
	"errors"
	"slices"
	"time"

	"github.com/avhub/avhub/core/plugin"
)

// A call that ends without an answer makes suspects of its events: one of them
// may be what kills the plugin, or keeps it from answering. They are delivered
// again in halves, first by keys, then within a key, until the culprit stands
// alone. All of this is in memory: after a crash of the hub it starts over.

const (
	// aloneTries is how often an event may kill the plugin while nothing else is
	// under way, before it is given up.
	aloneTries = 3
	// fruitless calls in a row without an answer from the plugin, however small
	// they have become, are the plugin's fault. Ten halvings find one of a
	// thousand events.
	fruitlessDeaths = 10 + aloneTries
	fruitlessHangs  = 3
	// hangsInFlight are calls to find out what hangs. They have time limits to
	// wait for, so other calls go on beside them.
	hangsInFlight = 3
)

// trial is a call that is to be made with suspects alone.
type trial struct {
	items   []*item       // of the main stream, of one lane, or or a letter that an operator retries
	run     *laneRun      // set: of this lane
	letters []*DeadLetter // set: the one letter
	// died: the process died, so nothing else may be under way during the trial.
	// Otherwise the call only got no answer.
	died     bool
	alone    int       // deaths with nothing but the one event under way
	since    time.Time // the first call without an answer
	failures []Failure
}

// excuser is a plugin whose crashes can be told apart from its own instability.
type excuser interface {
	// Excuse says that the cause of the last crash is being dealt with.
	Excuse()
	// Wake ends the pause before the next start.
	Wake()
}

// interrupted handles a call whose outcome nobody knows: the events wait and go
// out again, with the state as it was.
func (c *Consumer) interrupted(b *batch, ch *changes) {
	now := c.deps.Now()
	c.down = errors.Is(b.err, plugin.ErrNotRunning) || errors.Is(b.err, plugin.ErrStopped)
	// Nor is it the events' doing when the hub ends the process.
	tried := !c.down && !errors.Is(b.err, errNotSent) && !errors.Is(b.err, plugin.ErrEnded)
	reason := "the call ended without an answer: " + clean(lastWords(b.err))
	c.deps.Log.Warn().Err(b.err).Int("events", len(b.items)).Msg("events will be delivered again")
	if b.replay != nil {
		if !tried {
			c.notBefore = now.Add(heldWait)
		} else if errors.Is(b.err, plugin.ErrCrashed) && len(b.items) > 1 {
			c.excuse() // the next call is smaller
		}
		c.replayInterrupted(b, tried, reason, ch)
		c.moveReplay(b, ch)
		return
	}
	switch {
	case !tried:
		c.notBefore = now.Add(heldWait)
		if b.trial != nil {
			c.trials = append([]*trial{b.trial}, c.trials...)
		} else {
			b.releaseAll()
		}
	case c.breaker.isOpen():
		b.releaseAll()
		if b.probe {
			c.breaker.probed(now, reason)
			ch.wished = true
		}
		if b.letters != nil {
			c.lettersInterrupted(b, reason, ch)
		}
	default:
		c.suspect(b, reason, now, ch)
	}
	if b.run != nil {
		c.moveLane(b, ch)
	}
	c.window.advance()
}

// lastWords is an error with what a process that crashed wrote in the end.
func lastWords(err error) string {
	var crash *plugin.Crash
	if errors.As(err, &crash) && crash.Tail != "" {
		return err.Error() + "\n" + crash.Tail
	}
	return err.Error()
}

// suspect looks for the event that keeps calls from ending.
func (c *Consumer) suspect(b *batch, reason string, now time.Time, ch *changes) {
	if len(b.letters) > 1 {
		c.lettersInterrupted(b, reason, ch)
		return
	}
	t := b.trial
	if t == nil {
		t = &trial{run: b.run, letters: b.letters, since: now}
	}
	t.items = b.items // without what was settled already, or did not fit
	died := errors.Is(b.err, plugin.ErrCrashed)
	proof := died && b.exclusive && b.quiet // nothing else was under way
	t.died = died
	t.failures = append(t.failures, Failure{now, reason})
	if c.atFault(b, died, proof, reason, now, ch) {
		c.drop(t)
		return
	}
	if died {
		c.excuse()
	}
	if halves := t.halves(); len(halves) > 1 {
		if t.run != nil {
			halves = halves[:1] // the lane reads the rest again
		}
		c.trials = append(halves, c.trials...)
		return
	}
	if proof {
		t.alone++
	}
	witness := c.answered.After(t.since)
	switch {
	case t.letters != nil && (proof || !died):
		c.lettersInterrupted(b, reason, ch)
	case died && t.alone < aloneTries:
		c.trials = append([]*trial{t}, c.trials...)
	default:
		// A hang is no proof of poison. Nor is a death, unless the plugin has shown
		// with other events since then that it works.
		c.condemn(b, t, reason, died && witness, now, ch)
	}
}

// condemn makes the one event that is left wait for another attempt, or gives it
// up if it is proved that it kills the plugin.
func (c *Consumer) condemn(b *batch, t *trial, reason string, proved bool, now time.Time, ch *changes) {
	it := t.items[0]
	verdict := ""
	if proved {
		reason = "it kills the plugin: " + reason
		verdict = c.giveUp(t.run, it, reason, t.failures, now, ch)
	} else {
		c.breaker.call++
		if !b.knownBad(it) {
			c.breaker.note(it.ev.TenantKey(), true, now)
		}
		c.trip(now, reason, ch)
		if c.breaker.isOpen() {
			c.drop(t)
			return
		}
		verdict = c.block(t.run, it, failure{reason: reason, earlier: t.failures[:len(t.failures)-1]}, now, ch)
	}
	if verdict == verdictDead {
		state := b.states[it.key]
		state.position = max(state.position, it.ev.Position)
		ch.states[it.key] = state
		it.settle()
	}
	ch.done = append(ch.done, Delivery{Plugin: c.cfg.Name, Event: it.ev, Verdict: verdict, Reason: reason, Took: time.Since(b.sent)})
	b.release(it)
}

// atFault tells that it is not an event that keeps calls from ending, because
// none of them ends: the breaker opens then, if the plugin has enough tenants
// for that.
func (c *Consumer) atFault(b *batch, died, proof bool, reason string, now time.Time, ch *changes) bool {
	limit := fruitlessHangs
	switch {
	case died && (proof || len(c.trials) == 0):
		c.deaths++
		limit = fruitlessDeaths
	case died: // others died with it, and are counted
		return false
	default:
		c.hangs++
	}
	if died && c.deaths < limit || !died && c.hangs < limit {
		return false
	}
	c.breaker.call++
	for _, it := range b.items {
		c.breaker.note(it.ev.TenantKey(), true, now)
	}
	c.trip(now, reason, ch)
	return c.breaker.isOpen()
}

// excuse tells the supervisor that a crash is being dealt with, as long as that
// may still be so.
func (c *Consumer) excuse() {
	if p, ok := c.deps.Plugin.(excuser); ok && c.deaths < fruitlessDeaths {
		p.Excuse()
		p.Wake()
	}
}

// halves divides suspects by their keys, or within the only key they have.
func (t *trial) halves() []*trial {
	if len(t.items) < 2 {
		return []*trial{t}
	}
	var keys []string
	for _, it := range t.items {
		if !slices.Contains(keys, it.key) {
			keys = append(keys, it.key)
		}
	}
	first, second := *t, *t
	first.failures, second.failures = slices.Clone(t.failures), slices.Clone(t.failures)
	if len(keys) == 1 {
		first.items, second.items = t.items[:len(t.items)/2], t.items[len(t.items)/2:]
		return []*trial{&first, &second}
	}
	first.items, second.items = nil, nil
	for _, it := range t.items {
		if slices.Contains(keys[:len(keys)/2], it.key) {
			first.items = append(first.items, it)
		} else {
			second.items = append(second.items, it)
		}
	}
	return []*trial{&first, &second}
}

// tryTrials starts what trials can be started. It reports true when nothing else
// may be.
func (c *Consumer) tryTrials() (alone bool) {
	if c.proving {
		return true
	}
	if !c.searches() {
		c.deps.Company.yield(c)
	}
	if c.deps.Company.claimed(c) {
		return true
	}
	for i := 0; i < len(c.trials); i++ {
		if !c.trials[i].died {
			continue
		}
		if !c.deps.Company.claim(c) || c.busy() {
			return true
		}
		t := c.trials[i]
		c.trials = slices.Delete(c.trials, i, i+1)
		if c.try(t) {
			return true
		}
		i--
	}
	c.deps.Company.yield(c) // nothing of them was left to deliver
	for i := 0; i < len(c.trials) && c.hanging < hangsInFlight && c.runs < c.limits.lanesInFlight; i++ {
		t := c.trials[i]
		if slices.ContainsFunc(t.items, func(it *item) bool { return c.flying[it.key] }) {
			continue
		}
		c.trials = slices.Delete(c.trials, i, i+1)
		i--
		c.try(t)
	}
	return false
}

// try makes the call of a trial, unless nothing of it is left to deliver.
func (c *Consumer) try(t *trial) bool {
	if t.run == nil && t.letters == nil {
		c.narrow(t)
	}
	if len(t.items) == 0 {
		return false
	}
	if t.letters != nil {
		c.letters++
	}
	c.send(&batch{items: t.items, run: t.run, letters: t.letters, trial: t})
	return true
}

// narrow takes out of a trial what is settled by now, or belongs to a lane, and
// what would come before an older event of its key.
func (c *Consumer) narrow(t *trial) {
	mine := map[*item]bool{}
	for _, it := range t.items {
		mine[it] = true
		for _, older := range it.covers {
			mine[older] = true
		}
	}
	late := map[string]bool{}
	for _, it := range c.window.items {
		if !it.settled && !mine[it] {
			late[it.key] = true
		} else if mine[it] && late[it.key] {
			delete(mine, it)
		}
	}
	var items []*item
	for _, it := range t.items {
		switch {
		case it.settled:
		case !mine[it]:
			it.release()
		default:
			items = append(items, it)
		}
	}
	t.items = items
}

// drop ends a trial without an outcome.
func (c *Consumer) drop(t *trial) {
	if t.run != nil {
		delete(c.active, t.run.lane.Key)
		return
	}
	for _, it := range t.items {
		it.release()
	}
}

// onTrial are the keys whose suspects wait for a trial: nothing else of these
// keys may be delivered.
func (c *Consumer) onTrial() map[string]bool {
	if len(c.trials) == 0 {
		return nil
	}
	keys := map[string]bool{}
	for _, t := range c.trials {
		for _, it := range t.items {
			keys[it.key] = true
		}
	}
	return keys
}
