package fanout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/core/journal/retention"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// op is something that happens. What n and m mean depends on what it is; both
// count modulo what there is.
type op struct {
	do   string
	n, m int
	// how a call is answered: the verdict on its mth event. Those before it are
	// applied; those after it, too, or held if they are of the same key. With all,
	// the verdict is said of the first event of each key.
	how   string
	all   bool
	state bool // the answer brings new states
}

func (o op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{do: %q", o.do)
	if o.n != 0 {
		fmt.Fprintf(&b, ", n: %d", o.n)
	}
	if o.m != 0 {
		fmt.Fprintf(&b, ", m: %d", o.m)
	}
	if o.how != "" {
		fmt.Fprintf(&b, ", how: %q", o.how)
	}
	if o.all {
		b.WriteString(", all: true")
	}
	if o.state {
		b.WriteString(", state: true")
	}
	return b.String() + "},"
}

// What may happen, each as often as it is worth.
var modelOps = []string{
	"nothing", "append", "append", "burst", "noise", "huge",
	"work", "work", "work", "work", "turn", "turn", "answer", "answer", "answer", "answer", "answer", "answer",
	"say", "take", "take", "begin", "hold", "clock", "clock", "clock", "clock", "start", "start", "stop", "fault", "renew", "divide", "prune",
	"retry lanes", "retry letter", "discard lane", "discard letter", "down", "config", "pause", "replay", "replay", "reset",
}

var modelAnswers = []string{
	"applied", "applied", "applied", "skipped", "again", "retry", "retry", "throttled", "reject", "halt", "held", "cut", "not running", "breach", "crashed", "crashed", "ended",
}

var modelWaits = []time.Duration{
	150 * time.Millisecond, 600 * time.Millisecond, 25 * time.Second, 3 * time.Minute, 11 * time.Minute,
}

// do makes one thing happen, and looks at the books.
func (w *world) do(o op) {
	if o.do == "nothing" {
		return
	}
	w.trace = append(w.trace, o)
	h := w.hubs[o.n%len(w.hubs)]
	if alive := w.alive(); o.do != "start" && len(alive) > 0 {
		h = alive[o.n%len(alive)]
	}
	switch o.do {
	case "append":
		for range o.m%3 + 1 {
			w.append(o.n%w.keys(), "member.joined", 0)
		}
	case "burst":
		for i := range o.m%7 + 2 {
			w.append((o.n+i)%w.keys(), "member.joined", 0)
		}
	case "noise":
		w.append(o.n%w.keys(), "noise.made", 0)
	case "huge":
		w.append(o.n%w.keys(), "member.joined", 4000)
	case "work":
		h.work()
	case "turn": // a lane's wait passes, and every hub comes round
		w.now = w.now.Add(modelWaits[2])
		for _, h := range w.alive() {
			h.take()
			h.work()
		}
	case "answer", "say":
		if calls := w.waiting(); len(calls) > 0 {
			call := calls[o.n%len(calls)]
			call.hub.begin(call)
			if !call.answered {
				call.hub.say(call, w.answer(call, o))
			}
			if o.how == "crashed" && o.all { // whatever else it was at ends, too
				for _, other := range call.hub.calls {
					if other.begun && !other.answered {
						other.hub.say(other, w.answer(other, o))
					}
				}
			}
			if o.do == "answer" {
				call.hub.take()
			}
		}
	case "take":
		h.take()
	case "begin":
		if calls := w.waiting(); len(calls) > 0 {
			call := calls[o.n%len(calls)]
			call.hub.begin(call)
		}
	case "hold":
		w.hold = !w.hold
	case "down":
		w.down = !w.down
	case "config":
		if w.hash++; o.m == 5 {
			w.park = !w.park
		}
	case "clock":
		w.now = w.now.Add(modelWaits[o.n%len(modelWaits)])
	case "start":
		h.start(o.m % w.partitions)
	case "renew":
		if h.lease != nil {
			if err := h.leases.Renew(context.Background(), []string{"p"}, []*Lease{h.lease}); err != nil {
				w.fail("renew: %v", err)
			}
		}
	case "replay":
		w.replay(o)
	case "reset":
		w.reset(o)
	case "prune":
		w.prune()
	case "divide":
		w.divide(o.m%modelPartitions + 1)
	case "stop":
		w.stop(h)
	case "fault":
		w.fault, w.looks = fault(o.n%int(faults)), 4*o.m
	default:
		w.operate(o)
	}
	w.look()
	w.lookAtHubs()
	w.lookAtPause()
	for _, f := range w.facts {
		f.never = f.never || f.discard && !w.atWork(f.key)
	}
}

// alive are the hubs that run, whether they own the deliveries or think so.
func (w *world) alive() []*modelHub {
	var alive []*modelHub
	for _, h := range w.hubs {
		if h.c != nil {
			alive = append(alive, h)
		}
	}
	return alive
}

// stop ends a hub as a shutdown does: what is in flight comes to its end.
func (w *world) stop(h *modelHub) {
	if h.c == nil {
		return
	}
	for _, call := range slices.Clone(h.calls) {
		h.begin(call)
		if !call.answered {
			h.say(call, w.answer(call, op{how: "applied"}))
		}
	}
	// One by one, to know what each of them means. The last one may be left
	// uncommitted: that is finish's to do.
	for h.c != nil && len(h.calls) > 0 {
		h.failed = false // nothing else is repeated any more
		h.take()
	}
	if h.c != nil {
		h.finish(context.Canceled)
	}
}

// divide has the plugin divided anew, while nobody holds a lease.
func (w *world) divide(partitions int) {
	if w.order == plugin.Total {
		return
	}
	ctx := context.Background()
	if _, err := w.st.SQL(ctx).Exec(ctx, `UPDATE avhub_cursors SET expires_at = 1 WHERE owner <> ''`); err != nil {
		w.t.Fatal(err)
	}
	done, err := NewLeases(w.st, LeaseOptions{Hub: "another"}).Repartition(ctx, "p", partitions, "")
	if err != nil || !done {
		w.fail("cannot divide: %v", err)
	}
	w.partitions, w.divided, w.written = partitions, true, true
	for _, p := range w.replays {
		p.divided, p.settled, p.attempts = true, map[int64]bool{}, map[int64]int{}
	}
	for _, f := range w.facts {
		if !f.booked {
			f.fate = ""
		}
	}
}

// prune removes what nobody needs any more, as old as a second.
func (w *world) prune() {
	_, err := retention.New(retention.Config{Retain: time.Second}, retention.Deps{
		Store: w.st, Journal: w.journal, Holders: []retention.Holder{Holds(w.st, []string{"p"})},
		Now:  func() time.Time { return w.now },
		Wait: func(context.Context, time.Duration) (bool, time.Duration) { return true, 0 },
	}).Prune(context.Background(), nil)
	if err != nil {
		w.fail("cannot prune: %v", err)
	}
}

// answer makes a legal answer of what o says, or one of those that a plugin can
// give without knowing.
func (w *world) answer(call *modelCall, o op) modelAnswer {
	call.tried = true
	switch o.how {
	case "cut":
		return modelAnswer{err: errors.New("the connection was cut")}
	case "not running":
		call.tried = false
		return modelAnswer{err: plugin.ErrNotRunning}
	case "crashed":
		if events := call.req.GetEvents(); call.b.exclusive && len(events) == 1 {
			w.facts[events[0].GetPosition()-1].deaths++
		}
		return modelAnswer{err: &plugin.Crash{Exit: "signal: killed"}}
	case "ended":
		call.tried = false
		return modelAnswer{err: plugin.ErrEnded}
	case "breach":
		return modelAnswer{resp: &pluginpb.DeliverResponse{}}
	}
	special := map[string]*pluginpb.Verdict{
		"applied":   {Kind: pluginpb.Verdict_KIND_APPLIED},
		"skipped":   {Kind: pluginpb.Verdict_KIND_SKIPPED},
		"again":     {Kind: pluginpb.Verdict_KIND_AGAIN},
		"retry":     {Kind: pluginpb.Verdict_KIND_RETRY, Reason: "not now"},
		"throttled": {Kind: pluginpb.Verdict_KIND_RETRY, Throttled: true, RetryAfterMs: 5000, Reason: "slow down"},
		"reject":    {Kind: pluginpb.Verdict_KIND_REJECT, Reason: "never"},
		"halt":      {Kind: pluginpb.Verdict_KIND_HALT, Reason: "stop"},
		"held":      {Kind: pluginpb.Verdict_KIND_HELD},
	}[o.how]
	resp := &pluginpb.DeliverResponse{States: map[string][]byte{}}
	held, met := map[string]bool{}, map[string]bool{}
	events := call.req.GetEvents()
	for i, ev := range events {
		v := &pluginpb.Verdict{Kind: pluginpb.Verdict_KIND_APPLIED}
		switch {
		case held[ev.GetKey()]:
			v.Kind = pluginpb.Verdict_KIND_HELD
		case o.all && !met[ev.GetKey()], !o.all && i == o.m%len(events):
			v.Kind, v.Reason, v.Throttled, v.RetryAfterMs = special.Kind, special.Reason, special.Throttled, special.RetryAfterMs
		}
		met[ev.GetKey()] = true
		switch v.Kind {
		case pluginpb.Verdict_KIND_APPLIED, pluginpb.Verdict_KIND_SKIPPED, pluginpb.Verdict_KIND_REJECT:
		default:
			held[ev.GetKey()] = true
		}
		v.Position = ev.GetPosition()
		resp.Verdicts = append(resp.Verdicts, v)
		if o.state && resp.States[ev.GetKey()] == nil {
			w.serial++
			resp.States[ev.GetKey()] = fmt.Appendf(nil, "state %d", w.serial)
		}
	}
	return modelAnswer{resp: resp}
}

// operate is an operator's word, by the same functions that the command uses.
func (w *world) operate(o op) {
	ctx := context.Background()
	lanes := slices.Sorted(maps.Keys(w.books.lanes))
	letters := slices.Sorted(maps.Keys(w.books.letters))
	var err error
	w.written = true
	switch o.do {
	case "pause":
		if w.paused = !w.paused; w.paused {
			err = Pause(ctx, w.st, "p", "an operator looks at it")
		} else {
			err = Resume(ctx, w.st, "p")
		}
	case "retry lanes":
		_, err = Retry(ctx, w.st, Filter{Plugin: "p"})
		for position := range w.letters {
			w.letters[position] = true
		}
	case "retry letter":
		if len(letters) > 0 {
			position := letters[o.n%len(letters)]
			_, err = Retry(ctx, w.st, Filter{Letter: w.books.letters[position].ID})
			w.letters[position] = true
		}
	case "discard letter":
		if len(letters) > 0 {
			position := letters[o.n%len(letters)]
			_, err = Discard(ctx, w.st, Filter{Letter: w.books.letters[position].ID})
			delete(w.letters, position)
			w.discarded(w.facts[position-1])
		}
	case "discard lane":
		if len(lanes) > 0 {
			lane := w.books.lanes[lanes[o.n%len(lanes)]]
			if f := w.firstOpen(lane); f != nil && f.position <= lane.Head {
				f.discard = true
			}
			_, err = Discard(ctx, w.st, Filter{Plugin: "p", Key: lane.Key})
			for position := range w.letters {
				if f := w.facts[position-1]; f.key == lane.Key {
					delete(w.letters, position)
					w.discarded(f)
				}
			}
		}
	default:
		w.t.Fatalf("the model does not know what %q is", o.do)
	}
	if err != nil {
		w.fail("%s: %v", o.do, err)
	}
}

// discarded notes that an operator has deleted the dead letter of an event. If its
// key is parked behind it, all up to there is given up.
func (w *world) discarded(f *fact) {
	lane := w.books.lanes[f.key]
	if lane == nil || lane.Parked != f.position {
		f.fate = "discarded"
		return
	}
	for _, up := range w.facts[lane.Head-1 : lane.Parked] {
		up.discard = up.discard || up.wanted && up.key == f.key
	}
}

// firstOpen is the event that a lane's head stands for, if it has come.
func (w *world) firstOpen(lane *Lane) *fact {
	for _, f := range w.facts {
		if f.wanted && f.key == lane.Key && f.position >= lane.Head {
			return f
		}
	}
	return nil
}

// atWork tells whether a consumer has taken the key's lane up already.
func (w *world) atWork(key string) bool {
	for _, h := range w.hubs {
		if h.c != nil && h.c.active[key] != nil {
			return true
		}
	}
	return false
}
