package fanout

import (
	"context"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// played is what the model knows of a replay.
type played struct {
	Replay
	settled  map[int64]bool
	attempts map[int64]int
	over     bool // cancelled
	divided  bool // and so begun anew
}

// has tells whether an event is one of the replay's.
func (p *played) has(f *fact) bool {
	return f.wanted && f.position > p.After && f.position <= p.Until && (p.Key == "" || p.Key == f.key)
}

// replay starts or cancels one.
func (w *world) replay(o op) {
	ctx := context.Background()
	if o.m == 5 {
		for id, p := range w.replays {
			if r, err := FindReplay(ctx, w.st, id); err != nil {
				w.fail("find replay %d: %v", id, err)
			} else if r.State == ReplayRunning && !p.over {
				p.over = true
				if _, err := CancelReplay(ctx, w.st, id); err != nil {
					w.fail("cancel replay %d: %v", id, err)
				}
			}
		}
		return
	}
	r := Replay{Plugin: "p", After: int64(o.n % (len(w.facts) + 1))}
	if o.m == 1 {
		r.Key = w.key(o.n % w.keys())
	}
	if o.m == 2 {
		r.Rate = 10
	}
	r, err := StartReplay(ctx, w.st, w.journal, r)
	if err != nil {
		w.fail("start a replay: %v", err)
	}
	w.replays[r.ID] = &played{Replay: r, settled: map[int64]bool{}, attempts: map[int64]int{}}
}

// reset brings the plugin to another place, while nobody who holds a lease is
// left, whatever former owners still think.
func (w *world) reset(o op) {
	ctx := context.Background()
	if _, err := w.st.SQL(ctx).Exec(ctx, `UPDATE avhub_cursors SET owner = '', expires_at = 0`); err != nil {
		w.t.Fatal(err)
	}
	first, err := w.journal.First(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	last := int64(len(w.facts))
	to := first - 1 + int64(o.n)%(last-first+2)
	keep := o.m%2 == 1
	if _, err := (Move{Plugin: "p", To: StartAfter(to), Reset: true, KeepState: keep}).Do(ctx, w.st, w.journal); err != nil {
		w.fail("reset to %d: %v", to, err)
	}
	w.divided, w.written = true, true
	w.letters, w.failing = map[int64]bool{}, map[string]*failing{}
	if !keep {
		w.states = map[string]string{}
	}
	for _, p := range w.replays {
		p.over = true
	}
	for _, f := range w.facts {
		f.discard, f.never = false, false
		switch {
		case f.position > to:
			f.fate, f.booked = "", false
		case f.fate == "":
			f.fate = "passed"
		}
	}
}

// handedOutAgain holds what is delivered for a replay against what it is of, and
// against the live deliveries.
func (w *world) handedOutAgain(call *modelCall, facts []*fact) {
	p, h := w.replays[call.b.replay.ID], call.hub
	for i, f := range facts {
		switch {
		case p == nil || !p.has(f):
			w.fail("%s: event %d is delivered for a replay that it is not of", h.name, f.position)
		case p.settled[f.position]:
			w.fail("%s: event %d is delivered for a replay once more", h.name, f.position)
		case !f.booked:
			w.fail("%s: event %d is delivered for a replay before it is settled", h.name, f.position)
		case i > 0 && f.position <= facts[i-1].position:
			w.fail("%s: event %d of a replay comes after %d", h.name, f.position, facts[i-1].position)
		}
		for before := range p.settled {
			if before > f.position && w.facts[before-1].key == f.key {
				w.fail("%s: event %d of a replay comes after %d", h.name, f.position, before)
			}
		}
	}
}

// settledAgain works out what a call of a replay means.
func (w *world) settledAgain(out *outcome, dead map[int64]bool) {
	b := out.call.b
	p := w.replays[b.replay.ID]
	failed := func(position int64, final bool) {
		if p.attempts[position]++; !dead[position] {
			return
		}
		if !final && p.attempts[position] < replayAttempts {
			w.fail("event %d of a replay is given up after %d attempts", position, p.attempts[position])
		}
		out.replayed, out.letters = append(out.replayed, position), append(out.letters, position)
	}
	events := out.call.req.GetEvents()
	if b.err != nil {
		if len(events) == 1 && out.call.tried {
			failed(events[0].GetPosition(), false)
		}
		return
	}
	for key, state := range b.resp.GetStates() {
		out.states[key] = string(state)
	}
	for i, v := range b.resp.GetVerdicts() {
		switch position := events[i].GetPosition(); v.GetKind() {
		case pluginpb.Verdict_KIND_APPLIED, pluginpb.Verdict_KIND_SKIPPED:
			out.replayed = append(out.replayed, position)
		case pluginpb.Verdict_KIND_REJECT:
			failed(position, true)
		case pluginpb.Verdict_KIND_RETRY:
			failed(position, false)
		}
	}
}

// lookAtReplays tells whether all have ended, and holds what they say of
// themselves against the events.
func (w *world) lookAtReplays() (ended bool) {
	for id, p := range w.replays {
		r, err := FindReplay(context.Background(), w.st, id)
		if err != nil {
			w.fail("find replay %d: %v", id, err)
		}
		if p.over || p.divided {
			if r.State == ReplayRunning {
				return false
			}
			continue
		}
		var want int64
		for _, f := range w.facts {
			if p.has(f) {
				want++
			}
		}
		settled := r.Counts.Applied + r.Counts.Skipped + r.Counts.Failed
		switch {
		case r.State == ReplayRunning:
			return false
		case r.State != ReplayDone:
			w.fail("replay %d is %s", id, r.State)
		case r.Counts.Total() != want:
			w.fail("replay %d settled %+v of %d", id, r.Counts, want)
		case int64(len(p.settled)) != settled:
			w.fail("replay %d says %+v, and settled %d", id, r.Counts, len(p.settled))
		}
	}
	return true
}
