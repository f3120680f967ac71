package fanout

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// outcome is what a call means for the books, once it is committed.
type outcome struct {
	call    *modelCall
	written bool
	final   map[int64]string // final verdicts
	durable []int64          // of these, what must be in the books with the commit
	states  map[string]string
	failing map[string]*failing // nil: the key's failures are over
	letters []int64             // new ones
	parked  map[int64]bool      // of these: the key waits behind it
	// replayed are what a replay has settled.
	replayed []int64
	left     []int64          // behind which a key does not wait any more
	retried  map[int64]string // what becomes of those that were delivered again: gone or failed
}

func (o *outcome) mustWrite() bool {
	return len(o.durable)+len(o.states)+len(o.letters)+len(o.retried) > 0
}

func (o *outcome) String() string {
	return fmt.Sprintf("final %v, states %v, letters %v, retried %v", o.final, o.states, o.letters, o.retried)
}

// settled works out what a call that the consumer has just taken back means.
// Whether an event has had its time is the consumer's decision, within what is
// known of its failures.
func (w *world) settled(h *modelHub) {
	out := h.taking
	b, ch := out.call.b, h.c.unsaved
	dead := map[int64]bool{}
	for _, d := range ch.letters {
		dead[d.Position] = true
	}
	for _, it := range b.settled {
		if f := w.facts[it.ev.Position-1]; h.owns() && !f.booked {
			w.fail("%s takes event %d as settled", h.name, f.position)
		}
	}
	switch {
	case b.replay != nil && out.call.req == nil:
		for position := range dead { // too large
			out.replayed, out.letters = append(out.replayed, position), append(out.letters, position)
		}
	case b.replay != nil:
		w.settledAgain(out, dead)
	case out.call.req == nil && b.err == nil && b.oversized > 0:
		f := w.facts[b.items[0].ev.Position-1]
		if !f.huge {
			w.fail("%s finds event %d too large", h.name, f.position)
		}
		if b.letters != nil {
			out.retried[f.position] = "failed"
		} else {
			w.dead(out, f)
		}
	case out.call.req == nil:
	case b.err != nil:
		w.unanswered(out, dead)
	default:
		for key, state := range b.resp.GetStates() {
			out.states[key] = string(state)
		}
		for i, v := range b.resp.GetVerdicts() {
			f := w.facts[out.call.req.GetEvents()[i].GetPosition()-1]
			switch kind := v.GetKind(); {
			case b.letters == nil:
				w.verdict(out, f, v, dead)
			case kind == pluginpb.Verdict_KIND_APPLIED, kind == pluginpb.Verdict_KIND_SKIPPED:
				out.retried[f.position] = "gone"
			case kind == pluginpb.Verdict_KIND_RETRY, kind == pluginpb.Verdict_KIND_REJECT:
				out.retried[f.position] = "failed"
			}
		}
	}
	for _, position := range slices.Sorted(maps.Keys(out.final)) {
		f := w.facts[position-1]
		if _, ok := out.states[f.key]; ok || b.run != nil {
			out.durable = append(out.durable, position)
		}
	}
	for _, position := range out.letters {
		if !out.parked[position] {
			out.durable = append(out.durable, position)
		}
	}
	maps.Copy(h.took, out.final)
	for _, position := range slices.Sorted(maps.Keys(dead)) {
		if !slices.Contains(out.letters, position) {
			w.fail("%s gives up event %d, but must not", h.name, position)
		}
	}
}

func (w *world) outcomeOf(call *modelCall) *outcome {
	return &outcome{
		call: call, final: map[int64]string{}, states: map[string]string{},
		failing: map[string]*failing{}, retried: map[int64]string{}, parked: map[int64]bool{},
	}
}

// final notes a last verdict, and that it stands for what the event covers.
func (w *world) final(out *outcome, f *fact, verdict string) {
	if w.coalesce {
		for _, older := range w.open(out.call.hub, f.key) {
			if older.position < f.position && out.final[older.position] == "" {
				out.final[older.position] = "covered"
			}
		}
	}
	out.final[f.position] = verdict
	if is := w.fails(out, f.key); is.parked != 0 {
		out.left = append(out.left, is.parked)
	}
	out.failing[f.key] = nil
}

// dead: the event is given up, and its key goes on, or waits behind it.
func (w *world) dead(out *outcome, f *fact) {
	out.letters = append(out.letters, f.position)
	if !out.call.hub.c.cfg.Park {
		w.final(out, f, "dead")
		return
	}
	is := w.fails(out, f.key)
	if is.parked != 0 && is.parked != f.position {
		out.left = append(out.left, is.parked)
	}
	is.parked, is.most = f.position, is.most+1000
	is.least = 0
	out.parked[f.position] = true
}

func (w *world) verdict(out *outcome, f *fact, v *pluginpb.Verdict, dead map[int64]bool) {
	if v.GetKind() != pluginpb.Verdict_KIND_HELD {
		delete(out.call.hub.again, f.key)
	}
	switch v.GetKind() {
	case pluginpb.Verdict_KIND_AGAIN:
		out.call.hub.again[f.key] = f.position
	case pluginpb.Verdict_KIND_APPLIED:
		w.final(out, f, "applied")
	case pluginpb.Verdict_KIND_SKIPPED:
		w.final(out, f, "skipped")
	case pluginpb.Verdict_KIND_REJECT:
		w.dead(out, f)
	case pluginpb.Verdict_KIND_RETRY:
		if out.call.hub.c.breaker.isOpen() && !v.GetThrottled() {
			return // it is the plugin's fault
		}
		is := w.fails(out, f.key)
		if v.GetThrottled() {
			return
		}
		is.least, is.most = is.least+1, is.most+1
		if is.counted.IsZero() {
			is.counted = w.now
		}
		// When it must be given up depends on which of its waits count; the tests of
		// the policy say that. Here it must not be given up too early.
		w.givenUp(out, f, is, dead)
	}
}

// unanswered: nobody knows what became of the call.
func (w *world) unanswered(out *outcome, dead map[int64]bool) {
	if !out.call.tried {
		return
	}
	if out.call.b.letters != nil {
		for _, d := range out.call.hub.c.unsaved.retried {
			if len(out.call.req.GetEvents()) > 1 || errors.Is(out.call.b.err, plugin.ErrCrashed) && !out.call.b.exclusive && !out.call.hub.c.breaker.isOpen() {
				w.fail("the dead letter of event %d has failed for what may be another one's fault", d.Position)
			}
			out.retried[d.Position] = "failed"
		}
		return
	}
	for _, ev := range out.call.req.GetEvents() {
		f := w.facts[ev.GetPosition()-1]
		delete(out.call.hub.again, f.key)
		if out.call.hub.c.breaker.isOpen() {
			continue
		}
		is := w.fails(out, f.key)
		is.most++
		w.givenUp(out, f, is, dead)
	}
}

func (w *world) givenUp(out *outcome, f *fact, is *failing, dead map[int64]bool) {
	if !dead[f.position] {
		return
	}
	killer := errors.Is(out.call.b.err, plugin.ErrCrashed) && f.deaths >= aloneTries
	if w.now.Sub(is.first) < modelRetryFor && is.parked != f.position && !killer {
		w.fail("event %d is given up %s after its first failure", f.position, w.now.Sub(is.first))
	}
	w.dead(out, f)
}

// fails is what is known of a key's failures, as it will be after this one.
func (w *world) fails(out *outcome, key string) *failing {
	is, ok := out.failing[key]
	switch {
	case ok && is != nil:
		return is
	case !ok && w.failing[key] != nil:
		copied := *w.failing[key]
		is = &copied
	default:
		is = &failing{first: w.now}
	}
	out.failing[key] = is
	return is
}

// committed notes what a transaction of the hub has made true.
func (w *world) committed(h *modelHub) {
	for position, verdict := range h.took {
		if f := w.facts[position-1]; !h.kept[position] {
			h.kept[position] = true
			f.fate = verdict
			delete(w.failing, f.key)
		}
	}
	out := h.taking
	if out == nil {
		return
	}
	out.written = true
	maps.Copy(w.states, out.states)
	for _, position := range out.left {
		delete(w.letters, position)
	}
	for key, is := range out.failing {
		if is == nil {
			delete(w.failing, key)
		} else {
			w.failing[key] = is
		}
	}
	for _, position := range out.letters {
		w.letters[position] = false
		if f := w.facts[position-1]; out.parked[position] {
			lane := w.books.lanes[f.key] // an operator's word about it may stand
			f.discard, f.never = lane != nil && lane.Discard > 0, false
		} else if out.call.b.replay == nil {
			f.fate = "dead"
		}
	}
	for _, position := range out.replayed {
		w.replays[out.call.b.replay.ID].settled[position] = true
	}
	for position, how := range out.retried {
		_, ok := w.letters[position]
		switch {
		case !ok: // an operator was faster
		case how == "gone":
			delete(w.letters, position)
			w.facts[position-1].fate = "applied"
		default:
			w.letters[position] = false
		}
	}
	w.look()
	for _, position := range out.durable {
		if f := w.facts[position-1]; !f.booked {
			w.fail("the verdict on event %d is committed, but the books do not tell", position)
		}
	}
}
