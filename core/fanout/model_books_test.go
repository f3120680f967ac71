package fanout

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// books is what the database says of deliveries.
type books struct {
	cursor, epoch int64
	state, hash   string
	lanes         map[string]*Lane
	letters       map[int64]*DeadLetter
	states        map[string]keyState
}

// settled tells whether a hub that starts now would take the event as settled.
func (b *books) settled(f *fact) bool {
	if f.position <= b.states[f.key].position {
		return true
	}
	if lane := b.lanes[f.key]; lane != nil {
		return f.position < lane.Head
	}
	return f.position <= b.cursor
}

func (w *world) readBooks() (*books, error) {
	b := &books{lanes: map[string]*Lane{}, letters: map[int64]*DeadLetter{}, states: map[string]keyState{}}
	ctx, db := context.Background(), w.st.ReadSQL()
	err := db.Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&b.cursor, &b.epoch, &b.state, &b.hash) },
		`SELECT position, epoch, state, config_hash FROM avhub_cursors WHERE plugin = 'p'`)
	if err != nil {
		return nil, err
	}
	lanes, err := readLanes(ctx, db, `plugin = 'p'`)
	if err != nil {
		return nil, err
	}
	for _, l := range lanes {
		b.lanes[l.Key] = l
	}
	letters, err := readLetters(ctx, db, func(*DeadLetter) bool { return true }, `plugin = 'p'`)
	if err != nil {
		return nil, err
	}
	for _, d := range letters {
		b.letters[d.Position] = d
	}
	err = db.Query(ctx, func(rows *sql.Rows) error {
		var id string
		var s keyState
		if err := rows.Scan(&id, &s.position, &s.data); err != nil {
			return err
		}
		b.states[id[len("p/"):]] = s
		return nil
	}, `SELECT id, position, state FROM avhub_plugin_states`)
	return b, err
}

// look reads the books and holds them against what happened.
func (w *world) look() {
	before := w.books
	now, err := w.readBooks()
	if err != nil {
		w.t.Fatal(err)
	}
	w.books = now
	switch {
	case now.epoch < before.epoch:
		w.fail("the epoch went back from %d to %d", before.epoch, now.epoch)
	case now.cursor < before.cursor:
		w.fail("the cursor went back from %d to %d", before.cursor, now.cursor)
	case now.cursor > int64(len(w.facts)):
		w.fail("the cursor stands at %d, beyond the journal", now.cursor)
	}
	for _, f := range w.facts {
		if !f.wanted {
			continue
		}
		is := now.settled(f)
		if is && f.fate == "" && f.discard {
			f.fate = "discarded"
			delete(w.failing, f.key)
		}
		switch {
		case is && f.fate == "":
			w.fail("event %d of %s counts as settled, but no verdict on it was committed", f.position, f.key)
		case f.booked && !is:
			w.fail("event %d of %s was settled, and is not any more", f.position, f.key)
		}
		f.booked = is
	}
	for _, key := range slices.Sorted(maps.Keys(now.states)) {
		s := now.states[key]
		if string(s.data) != w.states[key] {
			w.fail("the state of %s is %q, the last committed one was %q", key, s.data, w.states[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.states)) {
		s := w.states[key]
		if _, ok := now.states[key]; !ok {
			w.fail("the state %q of %s is not there", s, key)
		}
	}
	w.lookAtTrouble()
}

// lookAtHubs holds what the owner has in memory against the books. Between two
// steps both agree, unless a step is to be repeated.
func (w *world) lookAtHubs() {
	for _, h := range w.hubs {
		if h.owns() && h.taking == nil && !h.failed && h.c.lanes != len(w.books.lanes) {
			w.fail("%s counts %d lanes, there are %d", h.name, h.c.lanes, len(w.books.lanes))
		}
	}
}

func (w *world) lookAtTrouble() {
	for _, position := range slices.Sorted(maps.Keys(w.letters)) {
		retry := w.letters[position]
		d, f := w.books.letters[position], w.facts[position-1]
		switch {
		case d == nil:
			w.fail("the dead letter of event %d is not there", position)
		case d.Key != f.key || d.EventID != f.id || d.event.ID != f.id || d.Attempts < 1 || len(d.History) == 0 || d.Reason == "":
			w.fail("the dead letter of event %d says %+v", position, d)
		case d.Retry != retry:
			w.fail("the dead letter of event %d is to be delivered again: %v, want %v", position, d.Retry, retry)
		}
	}
	for position := range w.books.letters {
		if _, ok := w.letters[position]; !ok {
			w.fail("event %d has a dead letter, but was not given up", position)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.books.lanes)) {
		lane := w.books.lanes[key]
		is := w.failing[key]
		if is == nil {
			is = &failing{}
		}
		if f := w.firstOpen(lane); lane.Attempts > 0 && (f == nil || f.position <= w.books.states[key].position) {
			w.fail("the lane of %s failed at %d, which is settled", key, lane.Head)
		}
		if lane.Attempts < is.least || lane.Attempts > is.most {
			w.fail("the lane of %s has %d attempts, want %d to %d", key, lane.Attempts, is.least, is.most)
		}
	}
}

// handedOut looks at a call that has just reached the plugin.
func (w *world) handedOut(call *modelCall) {
	h, req := call.hub, call.req
	w.look()
	if !h.owns() {
		return // it does not know yet, and cannot commit
	}
	if n := len(req.GetEvents()); n == 0 || n > w.limits.batchEvents {
		w.fail("%s delivers %d events in a call", h.name, n)
	}
	var keys []string
	byKey := map[string][]*fact{}
	for _, ev := range req.GetEvents() {
		f := w.facts[ev.GetPosition()-1]
		if f.id != ev.GetId() || f.key != ev.GetKey() || !f.wanted || f.huge && w.tight {
			w.fail("%s delivers as position %d of %s %v", h.name, ev.GetPosition(), ev.GetKey(), f)
		}
		if byKey[f.key] == nil {
			keys = append(keys, f.key)
		}
		byKey[f.key] = append(byKey[f.key], f)
		if ev.GetReplay() != (call.b.letters != nil) {
			w.fail("%s: event %d is marked as replay: %v", h.name, f.position, ev.GetReplay())
		}
	}
	for _, other := range h.calls {
		for _, ev := range other.req.GetEvents() {
			if other != call && byKey[ev.GetKey()] != nil {
				w.fail("%s: %s is in two calls at once", h.name, ev.GetKey())
			}
		}
	}
	for _, key := range keys {
		if got := string(req.GetStates()[key]); got != w.states[key] {
			w.fail("%s: %s is delivered with the state %q, the last committed one is %q", h.name, key, got, w.states[key])
		}
		if call.b.letters == nil {
			w.handedOutKey(call, key, byKey[key])
		}
	}
	for key := range req.GetStates() {
		if byKey[key] == nil {
			w.fail("%s: the state of %s travels without an event", h.name, key)
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
	case lane != nil && lane.NextAt.After(w.now) && lane.Discard == 0:
		w.fail("%s: %s is delivered %s before its time", h.name, key, lane.NextAt.Sub(w.now))
	}
}

// outcome is what a call means for the books, once it is committed.
type outcome struct {
	call    *modelCall
	written bool
	final   map[int64]string // final verdicts
	durable []int64          // of these, what must be in the books with the commit
	states  map[string]string
	failing map[string]*failing // nil: the key's failures are over
	letters []int64             // new ones
	retried map[int64]string    // what becomes of those that were delivered again: gone or failed
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
	case out.call.req == nil && b.err == nil && b.oversized > 0:
		f := w.facts[b.items[0].ev.Position-1]
		if !f.huge {
			w.fail("%s finds event %d too large", h.name, f.position)
		}
		if b.letters != nil {
			out.retried[f.position] = "failed"
		} else {
			w.final(out, f, "dead")
			out.letters = append(out.letters, f.position)
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
	out.durable = append(out.durable, out.letters...)
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
		failing: map[string]*failing{}, retried: map[int64]string{},
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
	out.failing[f.key] = nil
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
		w.final(out, f, "dead")
		out.letters = append(out.letters, f.position)
	case pluginpb.Verdict_KIND_RETRY:
		is := w.fails(out, f.key)
		if v.GetThrottled() {
			return
		}
		is.least, is.most = is.least+1, is.most+1
		if is.counted.IsZero() {
			is.counted = w.now
		}
		if must := w.now.Sub(is.counted) >= modelRetryFor; must && !dead[f.position] {
			w.fail("event %d has failed since %s, and is not given up", f.position, w.now.Sub(is.counted))
		}
		w.givenUp(out, f, is, dead)
	}
}

// unanswered: nobody knows what became of the call.
func (w *world) unanswered(out *outcome, dead map[int64]bool) {
	if !out.call.tried {
		return
	}
	if out.call.b.letters != nil {
		if events := out.call.req.GetEvents(); len(events) == 1 { // else it may be another one's fault
			out.retried[events[0].GetPosition()] = "failed"
		}
		return
	}
	for _, ev := range out.call.req.GetEvents() {
		f := w.facts[ev.GetPosition()-1]
		delete(out.call.hub.again, f.key)
		is := w.fails(out, f.key)
		is.most++
		w.givenUp(out, f, is, dead)
	}
}

func (w *world) givenUp(out *outcome, f *fact, is *failing, dead map[int64]bool) {
	if !dead[f.position] {
		return
	}
	if w.now.Sub(is.first) < modelRetryFor {
		w.fail("event %d is given up %s after its first failure", f.position, w.now.Sub(is.first))
	}
	w.final(out, f, "dead")
	out.letters = append(out.letters, f.position)
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
	for key, is := range out.failing {
		if is == nil {
			delete(w.failing, key)
		} else {
			w.failing[key] = is
		}
	}
	for _, position := range out.letters {
		w.letters[position] = w.letters[position]
		w.facts[position-1].fate = "dead"
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
	books, err := w.readBooks()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, position := range out.durable {
		if f := w.facts[position-1]; !books.settled(f) {
			w.fail("the verdict on event %d is committed, but the books do not tell", position)
		}
	}
}

// rest lets everything come to its end, with a plugin that applies all, and
// looks at what is left.
func (w *world) rest() {
	w.fault, w.hold, w.down = noFault, false, false
	w.hash++
	w.hubs[0].drop()
	h := w.hubs[1]
	h.start()
	for turn := 0; ; turn++ {
		if turn > 40+8*len(w.facts) {
			w.fail("it does not come to rest")
		}
		before := w.books.cursor
		w.now = w.now.Add(modelWaits[2])
		h.work()
		if h.c == nil {
			w.fail("the only hub ended")
		}
		w.look()
		if before == w.books.cursor && w.books.cursor == int64(len(w.facts)) && len(h.calls)+len(w.books.lanes) == 0 {
			break
		}
		for _, call := range slices.Clone(h.calls) {
			if !call.answered {
				h.say(call, w.answer(call, op{how: "applied", state: true}))
			}
			h.take()
		}
	}
	for _, f := range w.facts {
		if f.wanted && (f.fate == "" || !f.booked) {
			w.fail("nobody knows what became of event %d of %s", f.position, f.key)
		}
	}
	for position, retry := range w.letters {
		if retry {
			w.fail("the dead letter of event %d was to be delivered again", position)
		}
	}
}
