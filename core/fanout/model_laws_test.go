package fanout

import "context"

// handedOut looks at a call that has just reached the plugin.
func (w *world) handedOut(call *modelCall) {
	h, req := call.hub, call.req
	w.look()
	if !h.owns() {
		return // it does not know yet, and cannot commit
	}
	if w.rests {
		w.fail("%s delivers to a plugin that is paused", h.name)
	}
	if n := len(req.GetEvents()); n == 0 || n > w.limits.batchEvents {
		w.fail("%s delivers %d events in a call", h.name, n)
	}
	var keys []string
	byKey := map[string][]*fact{}
	for _, ev := range req.GetEvents() {
		f := w.facts[ev.GetPosition()-1]
		if f.id != ev.GetId() || f.key != ev.GetKey() || w.partition(f) != h.partition || !f.wanted || f.huge && w.tight {
			w.fail("%s delivers as position %d of %s %v", h.name, ev.GetPosition(), ev.GetKey(), f)
		}
		if byKey[f.key] == nil {
			keys = append(keys, f.key)
		}
		byKey[f.key] = append(byKey[f.key], f)
		if ev.GetReplay() != (call.b.letters != nil || call.b.replay != nil) {
			w.fail("%s: event %d is marked as replay: %v", h.name, f.position, ev.GetReplay())
		}
	}
	for _, other := range h.calls {
		for _, ev := range other.req.GetEvents() {
			if other != call && (other.b.exclusive || call.b.exclusive) {
				w.fail("%s: a call is under way beside one that must be alone", h.name)
			}
			if other != call && byKey[ev.GetKey()] != nil {
				w.fail("%s: %s is in two calls at once", h.name, ev.GetKey())
			}
		}
	}
	for _, key := range keys {
		if got := string(req.GetStates()[key]); got != w.states[key] {
			w.fail("%s: %s is delivered with the state %q, the last committed one is %q", h.name, key, got, w.states[key])
		}
		switch {
		case call.b.replay != nil:
			w.handedOutAgain(call, byKey[key])
		case call.b.letters == nil:
			w.handedOutKey(call, key, byKey[key])
		}
	}
	for key := range req.GetStates() {
		if byKey[key] == nil {
			w.fail("%s: the state of %s travels without an event", h.name, key)
		}
	}
}

// lookAtPause: once operators are told that a pause has come into force, nothing
// is under way, until it ends.
func (w *world) lookAtPause() {
	if !w.paused {
		w.rests = false
		return
	}
	done, _, err := Acknowledged(context.Background(), w.st, "p")
	if err != nil {
		w.fail("look whether the pause is in force: %v", err)
	}
	w.rests = w.rests || done
	for _, h := range w.hubs {
		if w.rests && h.owns() && len(h.calls) > 0 {
			w.fail("%s has a call in flight, and operators are told that the pause is in force", h.name)
		}
	}
}

// handedOutKey holds law 4 and law 5 for the events of a key in a call.
func (w *world) handedOutKey(call *modelCall, key string, facts []*fact) {
	h := call.hub
	open := w.open(h, key)
	for i, f := range facts {
		switch {
		case f.booked || h.took[f.position] != "":
			w.fail("%s: event %d of %s is delivered although it is settled", h.name, f.position, key)
		case f.never:
			w.fail("%s: event %d of %s is delivered although an operator gave it up", h.name, f.position, key)
		case !w.coalesce && f != open[i]:
			w.fail("%s: event %d of %s is delivered, its turn is %d", h.name, f.position, key, open[i].position)
		case i > 0 && f.position <= facts[i-1].position:
			w.fail("%s: event %d of %s comes after %d", h.name, f.position, key, facts[i-1].position)
		}
	}
	if again := h.again[key]; again != 0 && facts[0].position != again {
		w.fail("%s: event %d of %s is delivered, and %d asked to come again", h.name, facts[0].position, key, again)
	}
	switch lane := w.books.lanes[key]; {
	case lane == nil && call.b.run != nil:
		w.fail("%s: %s is delivered by a lane that there is not", h.name, key)
	case lane != nil && call.b.run == nil:
		w.fail("%s: %s is blocked, and delivered by the main stream", h.name, key)
	case lane != nil && lane.NextAt.After(w.now) && lane.Discard == 0 && !(lane.Parked > 0 && w.letters[lane.Parked]):
		w.fail("%s: %s is delivered %s before its time", h.name, key, lane.NextAt.Sub(w.now))
	}
}
