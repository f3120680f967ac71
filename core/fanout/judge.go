package fanout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// keyState is what is stored for a key: how far it is settled, and what the
// plugin remembers.
type keyState struct {
	position int64
	data     []byte
}

// changes is what a call, or several, did to the stored state of deliveries;
// commit writes it.
type changes struct {
	states   map[string]keyState // to store
	lanes    []*Lane             // to insert or update
	letters  []*DeadLetter       // to insert
	unparked []int64             // positions of dead letters that no longer hold their lane
	retried  []*DeadLetter       // by an operator, that failed again
	gone     []*DeadLetter       // that were settled when they were retried
	replay   *replayRun          // its progress is to be stored
	freed    string              // key of a lane that goes back to the main stream
	done     []Delivery
	status   string
	ahead    map[string]int64 // keys that are settled beyond the cursor, up to where
	breaker  *time.Time       // it opened then; zero: it closed
	wished   bool             // lanes that an operator wanted tried were tried in vain
}

// What is said of a delivery besides the plugin's own verdicts.
const (
	verdictRetry  = "retry"
	verdictDead   = "dead"
	verdictParked = "parked"
)

// judge turns a call's outcome into changes and moves the consumer's memory
// along. It touches no database.
func (c *Consumer) judge(b *batch) *changes {
	ch := &changes{states: map[string]keyState{}}
	if b.err != nil {
		c.interrupted(b, ch)
		return ch
	}
	c.weigh(b, ch)
	var keys []string
	perKey := map[string][]int{}
	for i, it := range b.items {
		if perKey[it.key] == nil {
			keys = append(keys, it.key)
		}
		perKey[it.key] = append(perKey[it.key], i)
	}
	for _, key := range keys {
		c.judgeKey(b, key, perKey[key], ch)
	}
	switch {
	case b.run != nil:
		c.moveLane(b, ch)
	case b.replay != nil:
		b.replay.limit = min(2*b.replay.limit, c.limits.batchEvents)
		c.moveReplay(b, ch)
	case b.letters != nil:
		c.letterLimit = min(2*c.letterLimit, c.limits.batchEvents)
	}
	c.window.advance()
	if len(ch.done) == 0 && len(b.settled) == 0 {
		// All was held: the plugin is busy with something else, such as a new
		// configuration. Asking again at once would only keep it busy.
		c.notBefore = c.deps.Now().Add(heldWait)
	}
	return ch
}

// judgeKey goes through the verdicts on one key's events, in order.
func (c *Consumer) judgeKey(b *batch, key string, indexes []int, ch *changes) {
	now := c.deps.Now()
	took, again := time.Since(b.sent), b.letters != nil || b.replay != nil
	state := b.states[key]
	before := state.position
	sent, changed := b.resp.GetStates()[key]
	if changed {
		state.data = sent
	}
	mustStore := changed
	said := func(it *item, verdict, reason string) {
		for _, older := range it.covers {
			ch.done = append(ch.done, Delivery{c.cfg.Name, older.ev, verdict, reason, took, again})
		}
		ch.done = append(ch.done, Delivery{c.cfg.Name, it.ev, verdict, reason, took, again})
	}
	settle := func(it *item) {
		it.settle()
		state.position = max(state.position, it.ev.Position)
	}
	for _, i := range indexes {
		it, v := b.items[i], b.resp.GetVerdicts()[i]
		reason := clean(v.GetReason())
		kind := v.GetKind()
		if kind == pluginpb.Verdict_KIND_AGAIN {
			if it.agains++; it.agains > maxAgain {
				kind, reason = pluginpb.Verdict_KIND_RETRY, tooOften
				it.agains = 0
			}
		}
		if b.replay != nil {
			if verdict := c.judgeReplayed(b, it, kind, v, reason, ch); verdict != "" {
				said(it, verdict, reason)
			}
			if it.settled && b.replay.Kind == ReplayEvents {
				state.position = max(state.position, it.ev.Position) // it never goes back
			}
			continue
		}
		if b.letters != nil {
			if kind != pluginpb.Verdict_KIND_HELD {
				said(it, c.judgeLetter(b, b.letters[i], kind, reason, ch), reason)
			}
			continue
		}
		switch kind {
		case pluginpb.Verdict_KIND_APPLIED:
			settle(it)
			said(it, "applied", reason)
		case pluginpb.Verdict_KIND_SKIPPED:
			settle(it)
			said(it, "skipped", reason)
		case pluginpb.Verdict_KIND_REJECT:
			if b.run != nil && b.run.lane.Head == it.first() {
				b.run.lane.fail(now, reason)
				b.run.lane.Attempts++
			}
			verdict := c.giveUp(b.run, it, reason, nil, now, ch)
			said(it, verdict, reason)
			if verdict == verdictDead {
				settle(it)
				mustStore = true // else a crash would hand out a dead letter once more
			}
		case pluginpb.Verdict_KIND_RETRY:
			if c.breaker.isOpen() && !v.GetThrottled() {
				said(it, verdictRetry, reason)
				b.release(it) // it is the plugin's fault, not the event's
				continue
			}
			verdict := c.block(b.run, it, failure{
				reason: reason, throttled: v.GetThrottled(), after: time.Duration(v.GetRetryAfterMs()) * time.Millisecond,
			}, now, ch)
			said(it, verdict, reason)
			if verdict == verdictDead {
				settle(it)
				mustStore = true
			}
		case pluginpb.Verdict_KIND_AGAIN:
			said(it, "again", reason)
			b.release(it)
		case pluginpb.Verdict_KIND_HALT:
			c.halt(b, reason)
			b.release(it)
		case pluginpb.Verdict_KIND_HELD:
			b.release(it)
		}
	}
	if mustStore || b.run != nil && state.position > before {
		ch.states[key] = state
	}
}

// tooOften is the failure of an event that asks to be called again for ever.
var tooOften = fmt.Sprintf("asked to be called again %d times in a row", maxAgain)

// weigh tells the breaker how a call ended.
func (c *Consumer) weigh(b *batch, ch *changes) {
	if b.oversized > 0 {
		return // the plugin was not asked
	}
	now := c.deps.Now()
	failed := map[string]bool{} // tenants that were attempted; true: none of their events worked
	attempted := func(it *item, bad bool) {
		tenant := it.ev.TenantKey()
		before, known := failed[tenant]
		failed[tenant] = bad && (before || !known)
	}
	worked, failure, again := false, "", false
	for i, v := range b.resp.GetVerdicts() {
		it := b.items[i]
		switch v.GetKind() {
		case pluginpb.Verdict_KIND_APPLIED, pluginpb.Verdict_KIND_SKIPPED, pluginpb.Verdict_KIND_REJECT:
			attempted(it, false)
			worked = true
		case pluginpb.Verdict_KIND_RETRY:
			if v.GetThrottled() {
				worked = true // the world answers, if only to ask for patience
				continue
			}
			failure = clean(v.GetReason())
			if !b.knownBad(it) {
				attempted(it, true)
			}
		case pluginpb.Verdict_KIND_AGAIN:
			if again = it.agains < maxAgain; !again {
				failure = tooOften
			}
		case pluginpb.Verdict_KIND_HELD:
			continue
		}
		c.answered, c.deaths, c.hangs = now, 0, 0
	}
	if c.breaker.isOpen() {
		if b.probe || b.replay != nil && worked {
			c.weighProbe(b, worked, again, failure, now, ch)
		}
		return
	}
	if b.letters != nil || b.replay != nil {
		return // what was given up before, or is old, says nothing about the plugin now
	}
	var last []ending // of each tenant, the newest first
	for _, it := range slices.Backward(b.items) {
		tenant := it.ev.TenantKey()
		if bad, ok := failed[tenant]; ok && len(last) < breakerTenants {
			last = append(last, ending{tenant: tenant, failed: bad})
			delete(failed, tenant)
		}
	}
	c.breaker.call++
	if worked {
		c.breaker.worked = c.breaker.call
	}
	for _, o := range slices.Backward(last) {
		c.breaker.note(o.tenant, o.failed, now)
	}
	if failure != "" {
		c.trip(now, failure, ch)
	}
}

// clean makes a text storable on both databases and bounds it.
func clean(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) > textLimit {
		s = strings.ToValidUTF8(s[:textLimit], "") + "…"
	}
	return s
}
