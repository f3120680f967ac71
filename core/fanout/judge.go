package fanout

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/avhub/avhub/core/plugin"
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
	states  map[string]keyState // to store
	lanes   []*Lane             // to insert or update
	letters []*DeadLetter       // to insert
	retried []*DeadLetter       // by an operator, that failed again
	replay  *replayRun          // its progress is to be stored
	gone    []*DeadLetter       // that were settled when they were retried
	freed   string              // key of a lane that goes back to the main stream
	done    []Delivery
	status  string
	ahead   map[string]int64 // keys that are settled beyond the cursor, up to where
}

// judge turns a call's outcome into changes and moves the consumer's memory
// along. It touches no database.
func (c *Consumer) judge(b *batch) *changes {
	ch := &changes{states: map[string]keyState{}}
	if b.err != nil {
		c.interrupted(b, ch)
		return ch
	}
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
				kind, reason = pluginpb.Verdict_KIND_RETRY, fmt.Sprintf("asked to be called again %d times in a row", maxAgain)
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
				said(it, c.judgeLetter(b.letters[i], kind, reason, ch), reason)
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
			ch.letters = append(ch.letters, c.deadLetter(it, reason, b.run, now))
			settle(it)
			mustStore = true // else a crash would hand out a dead letter once more
			said(it, "dead", reason)
		case pluginpb.Verdict_KIND_RETRY:
			if dead := c.block(b.run, it, reason, v, now, ch); dead {
				settle(it)
				mustStore = true
				said(it, "dead", reason)
			} else {
				said(it, "retry", reason)
			}
		case pluginpb.Verdict_KIND_AGAIN:
			said(it, "again", reason)
			b.release(it)
		case pluginpb.Verdict_KIND_HALT:
			c.halted = cmp.Or(reason, "the plugin asked to be halted")
			b.release(it)
		case pluginpb.Verdict_KIND_HELD:
			b.release(it)
		}
	}
	if mustStore || b.run != nil && state.position > before {
		ch.states[key] = state
	}
}

// interrupted handles a call whose outcome nobody knows: the events wait and go
// out again, with the state as it was. A key that keeps interrupting calls is
// delivered alone, until its time is up.
func (c *Consumer) interrupted(b *batch, ch *changes) {
	now := c.deps.Now()
	c.down = errors.Is(b.err, plugin.ErrNotRunning) || errors.Is(b.err, plugin.ErrStopped)
	tried := !c.down && !errors.Is(b.err, errNotSent)
	if !tried {
		c.notBefore = now.Add(heldWait)
	}
	reason := "the call ended without an answer: " + clean(b.err.Error())
	c.deps.Log.Warn().Int("events", len(b.items)).Str("reason", reason).Msg("events will be delivered again")
	if b.replay != nil {
		c.replayInterrupted(b, tried, reason, ch)
		c.moveReplay(b, ch)
		return
	}
	if b.letters != nil {
		if tried {
			c.lettersInterrupted(b, reason, ch)
		}
		return
	}
	first := map[string]bool{}
	for _, it := range b.items {
		if tried {
			it.interrupted++
			if !first[it.key] && (b.run != nil || it.interrupted >= isolateAfter) {
				if dead := c.block(b.run, it, reason, nil, now, ch); dead {
					it.settled = true
					state := b.states[it.key]
					state.position = it.ev.Position
					ch.states[it.key] = state
				}
			}
			first[it.key] = true
		}
		b.release(it)
	}
	if b.run != nil {
		c.moveLane(b, ch)
	}
	c.window.advance()
}

// clean makes a text storable on both databases and bounds it.
func clean(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) > textLimit {
		s = strings.ToValidUTF8(s[:textLimit], "") + "…"
	}
	return s
}
