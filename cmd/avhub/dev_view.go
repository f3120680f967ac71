package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/simulator"
)

const (
	// viewQueue bounds what waits to be shown. The hub does not wait for a
	// terminal: what is too much is counted and not shown.
	viewQueue = 1024
	// A line is printed when all is known about it, or after this time without
	// the connector's verdict.
	viewPatience = 2 * time.Second
	// An event that nobody tells about, such as one sent with curl, is printed
	// this long after its delivery.
	viewUntold = 500 * time.Millisecond
)

// view shows what happens to events: it brings together what the sender, the
// hub and the connector tell about one, each in its own time.
type view struct {
	c     *cli
	flags devFlags
	in    chan observation
	ended chan struct{}
	moved chan struct{} // tenants' databases may have changed

	missed atomic.Int64 // observations that found no room

	lines  []*viewLine // in the order in which they are printed
	totals viewTotals
}

// observation is what one side tells of one event.
type observation struct {
	at       time.Time
	step     *simulator.Step
	ev       *event.Event
	receipt  journal.Receipt
	delivery *fanout.Delivery
	aside    *viewAside
}

// viewAside is a line of somebody else beside the events: what came of them.
type viewAside struct{ by, kind, outcome, text string }

// viewLine is one line in the making.
type viewLine struct {
	id       string
	at       time.Time
	due      time.Time // printed then, whatever is missing
	step     *simulator.Step
	ev       *event.Event
	receipt  journal.Receipt // empty before ev is known
	delivery *fanout.Delivery
	aside    *viewAside // nothing else is set then
}

type viewTotals struct {
	accepted, duplicates, refused, unanswered, mirrored, applied, other int
	whole                                                               bool // an event came all the way
}

func newView(c *cli, f devFlags) *view {
	return &view{c: c, flags: f, in: make(chan observation, viewQueue), ended: make(chan struct{}), moved: make(chan struct{}, 1)}
}

// told takes a step of the story. It may wait: only the story does, too.
func (v *view) told(step simulator.Step) {
	v.in <- observation{at: time.Now(), step: &step}
}

// appended takes what the journal answered. It never waits.
func (v *view) appended(ev *event.Event, receipt journal.Receipt) {
	v.offer(observation{at: time.Now(), ev: ev, receipt: receipt})
}

// delivered takes a committed verdict. It never waits.
func (v *view) delivered(d fanout.Delivery) {
	switch {
	case v.flags.config == "" && d.Plugin == devBillingPlugin:
		return // what comes of it is told by the simulated Stripe
	case v.flags.config == "" && d.Plugin == devTenantsPlugin:
		v.provisioned() // what comes of it is seen in the folder
		return
	}
	v.offer(observation{at: time.Now(), delivery: &d})
}

// billed takes what the simulated Stripe says. It never waits.
func (v *view) billed(what string) { v.tellAside(viewAside{"Stripe", "billing", "billed", what}) }

// provided takes what became of a tenant's database. It never waits.
func (v *view) provided(what string) {
	v.tellAside(viewAside{"database", "provisioning", "provisioned", what})
}

// provisioned says that it is time to look. It never waits.
func (v *view) provisioned() {
	select {
	case v.moved <- struct{}{}:
	default: // that is said already
	}
}

func (v *view) tellAside(a viewAside) { v.offer(observation{at: time.Now(), aside: &a}) }

func (v *view) offer(o observation) {
	select {
	case v.in <- o:
	default: // the terminal is stuck; the hub is not
		v.missed.Add(1)
	}
}

// watchControl tells of what was sent by hand, too.
func (v *view) watchControl(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != simulator.ControlPath {
			next.ServeHTTP(w, r)
			return
		}
		copied := &copyWriter{ResponseWriter: w}
		next.ServeHTTP(copied, r)
		var result simulator.Result
		if copied.status != http.StatusOK || json.Unmarshal(copied.body.Bytes(), &result) != nil {
			return
		}
		for at := &result; at != nil; at = at.Duplicate {
			v.told(simulator.Step{Kind: simulator.StepEvent, Text: "you send an event", Delivery: simulator.Delivery{
				ID: at.ID, Type: at.Type, Channel: at.Channel, Attempts: at.Attempts, Status: at.Status, Response: at.Response,
			}})
		}
	})
}

// copyWriter keeps a copy of a small answer.
type copyWriter struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// WriteHeader notes the status.
func (w *copyWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Write notes the body.
func (w *copyWriter) Write(p []byte) (int, error) {
	w.body.Write(p)
	return w.ResponseWriter.Write(p)
}

// run shows what comes until end is called, and then what is left.
func (v *view) run() {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case o := <-v.in:
			v.take(o)
		case <-tick.C:
			v.print(time.Now(), false)
		case <-v.ended:
			for len(v.in) > 0 {
				v.take(<-v.in)
			}
			v.print(time.Now(), true)
			return
		}
	}
}

func (v *view) end() { close(v.ended) }

// take adds an observation to its line, or begins one.
func (v *view) take(o observation) {
	switch {
	case o.aside != nil:
		v.begin(&viewLine{at: o.at, aside: o.aside})
	case o.ev != nil:
		// Each append is a line of its own: a duplicate has the same id.
		v.begin(&viewLine{id: o.ev.ID, at: o.at, ev: o.ev, receipt: o.receipt})
	case o.delivery != nil:
		if o.delivery.Verdict == "applied" {
			v.totals.applied++
		} else {
			v.totals.other++
		}
		if l := v.find(o.delivery.Event.ID, func(l *viewLine) bool { return l.waitsForPlugin() }); l != nil {
			l.delivery = o.delivery
			if l.step == nil {
				l.due = o.at.Add(viewUntold)
			}
		}
	default:
		answered := o.step.Delivery.Status == http.StatusOK
		l := v.find(o.step.Delivery.ID, func(l *viewLine) bool { return answered && l.step == nil })
		if l == nil {
			l = v.begin(&viewLine{id: o.step.Delivery.ID, at: o.at})
		}
		l.step = o.step
	}
	v.print(o.at, false)
}

func (v *view) begin(l *viewLine) *viewLine {
	l.due = l.at.Add(viewPatience)
	v.lines = append(v.lines, l)
	return l
}

func (v *view) find(id string, fits func(*viewLine) bool) *viewLine {
	i := slices.IndexFunc(v.lines, func(l *viewLine) bool { return l.id == id && fits(l) })
	if i < 0 {
		return nil
	}
	return v.lines[i]
}

// waitsForPlugin tells whether the connector is going to say something.
func (l *viewLine) waitsForPlugin() bool {
	return l.receipt.Outcome == journal.Accepted && l.delivery == nil
}

// print prints the lines that are complete or due, in order.
func (v *view) print(now time.Time, all bool) {
	for len(v.lines) > 0 {
		l := v.lines[0]
		complete := l.aside != nil || l.step != nil && !l.waitsForPlugin()
		if !all && !complete && now.Before(l.due) {
			return
		}
		v.lines = v.lines[1:]
		if l.aside == nil {
			v.count(l)
		}
		switch {
		case v.flags.quiet:
		case v.flags.json:
			_ = v.c.writeJSONLine(v.json(l)) // a reader that is gone ends the process by itself
		default:
			_ = v.c.write(v.text(l) + "\n")
		}
	}
}

func (v *view) count(l *viewLine) {
	t := &v.totals
	switch l.outcome() {
	case "accepted":
		t.accepted++
		if len(l.ev.Changes) > 0 {
			t.mirrored++
			if l.delivery != nil && l.delivery.Verdict == "applied" {
				t.whole = true
			}
		}
	case "duplicate", "conflict":
		t.duplicates++
	case "refused":
		t.refused++
	case "unanswered":
		t.unanswered++
	}
}

// whole tells whether an event came all the way. Ask after run.
func (v *view) whole() bool { return v.totals.whole }

// summary is what happened in all. Ask after run.
func (v *view) summary(d time.Duration) string {
	t, who := v.totals, devPlugin
	if v.flags.config != "" {
		who = "the plugins"
	}
	text := fmt.Sprintf("In %s: %d accepted, %d of them changed the mirror, %d applied by %s; %d delivered twice, %d refused.",
		took(d), t.accepted, t.mirrored, t.applied, who, t.duplicates, t.refused)
	if t.other > 0 {
		text += fmt.Sprintf(" %s that %s did not apply.", count(int64(t.other), "verdict"), who)
	}
	if t.unanswered > 0 {
		text += fmt.Sprintf(" %d got no answer.", t.unanswered)
	}
	if n := v.missed.Load(); n > 0 {
		text += " The terminal did not keep up, so these figures are too small."
	}
	return text
}
