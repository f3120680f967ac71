package fanout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// modelHub is one hub of the model: a real consumer whose loop the test is. It
// is the plugin, too, whose calls wait until the test answers them.
type modelHub struct {
	w         *world
	name      string
	partition int
	leases    *Leases
	lease     *Lease
	c         *Consumer
	// calls are those that the consumer has started and not taken back.
	calls []*modelCall
	// starting is the call that is on its way to Deliver.
	starting *modelCall
	claiming bool
	// took are the positions that this consumer has taken a final verdict for,
	// in its memory; what of it a transaction has made true is kept.
	took map[int64]string
	kept map[int64]bool
	// again are the events that asked to be called again, by key: what comes next.
	again map[string]int64
	// taking is what came back and is not committed yet.
	taking *outcome
	// unlucky are tenants that may have failed since anything worked, failing those
	// that did: five of them open the breaker.
	unlucky, failing map[string]time.Time
	failed           bool          // the last step met a failing database and must be repeated
	dying            *dyingContext // of the last step, if its statements were to fail
}

// modelCall is a call to the plugin, from the moment in which the consumer
// decides on it.
type modelCall struct {
	hub      *modelHub
	b        *batch
	run      func()
	begun    bool
	answered bool
	arrived  chan struct{}
	answers  chan modelAnswer
	done     chan struct{}
	// req is nil as long as the plugin has not been called. Some calls never get
	// there: all was settled, too large, or could not be loaded.
	req    *pluginpb.DeliverRequest
	answer modelAnswer
	tried  bool // the error tells that the plugin may have seen it
}

type modelAnswer struct {
	resp *pluginpb.DeliverResponse
	err  error
}

func (h *modelHub) launch(b *batch, run func()) {
	call := &modelCall{
		hub: h, b: b, run: run,
		arrived: make(chan struct{}), answers: make(chan modelAnswer, 1), done: make(chan struct{}),
	}
	if h.c.breaker.isOpen() && (len(h.calls) > 0 || len(b.items) > 1 && b.replay == nil) {
		h.w.fail("%s delivers %d events beside %d calls, and its breaker is open", h.name, len(b.items), len(h.calls))
	}
	h.calls = append(h.calls, call)
	// A consumer takes its lanes up in any order. Cases that are to be played
	// again need one.
	slices.SortStableFunc(h.calls, func(a, b *modelCall) int { return cmp.Compare(a.place(), b.place()) })
	if !h.w.hold {
		h.begin(call)
	}
}

// place tells calls apart: no two of one consumer have an event in common.
func (c *modelCall) place() int64 {
	place := c.b.all[0].ev.Position
	if c.b.letters != nil || c.b.replay != nil {
		place = -place
	}
	return place
}

// begin lets a call go as far as it goes by itself: to the plugin, or back.
func (h *modelHub) begin(call *modelCall) {
	if call.begun {
		return
	}
	call.begun, h.starting = true, call
	go func() {
		defer close(call.done)
		call.run()
	}()
	select {
	case <-call.arrived:
		h.w.handedOut(call)
	case <-call.done:
		call.answered = true
	}
}

func (h *modelHub) Deliver(_ context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	call := h.starting // no other call is between begin and here
	call.req = req
	close(call.arrived)
	answer := <-call.answers
	return answer.resp, answer.err
}

// say answers a call; its result then waits to be taken.
func (h *modelHub) say(call *modelCall, answer modelAnswer) {
	if call.answered {
		return
	}
	call.answered, call.answer = true, answer
	call.answers <- answer
	<-call.done
}

var errModelDown = errors.New("down")

func (h *modelHub) WaitReady(context.Context) error {
	if h.w.down {
		return errModelDown
	}
	return nil
}

func (h *modelHub) Status() plugin.Status { return plugin.Status{State: plugin.Running, Version: "1"} }
func (h *modelHub) Info() (plugin.Info, bool) {
	return plugin.Info{Name: "p", Version: "1", Order: h.w.order, Coalesce: h.w.coalesce}, true
}

// The mirror has nothing to say, but may fail to say it.
func (h *modelHub) Refs(*event.Event) []mirror.Ref { return nil }
func (h *modelHub) Entities(context.Context, []mirror.Ref) (map[mirror.Ref]json.RawMessage, error) {
	if h.w.meets(faultMirror) {
		return nil, errModelFault
	}
	return nil, nil
}
func (h *modelHub) Count(context.Context, map[mirror.Ref]json.RawMessage) error { return nil }

// modelJournal is the real journal, whose reads may fail.
type modelJournal struct {
	*journal.Journal
	w *world
}

func (j modelJournal) Read(ctx context.Context, q journal.Query) ([]*event.Event, error) {
	if q.Whole && j.w.meets(faultRead) { // what replays read, they read beside the loop
		return nil, errModelFault
	}
	return j.Journal.Read(ctx, q)
}

var errModelFault = errors.New("the database fails, says the model")

// inTx runs a transaction of the hub, or makes it fail in one of the ways in
// which transactions fail.
func (h *modelHub) inTx(ctx context.Context, fn func(context.Context) error) error {
	w := h.w
	if w.meets(faultBegin) {
		return errModelFault
	}
	if w.meets(faultRollback) {
		return w.st.InTx(ctx, func(ctx context.Context) error { return errors.Join(fn(ctx), errModelFault) })
	}
	owner := h.owns()
	err := w.st.InTx(ctx, fn)
	switch {
	case errors.Is(err, ErrHalted), err != nil && h.dying.over():
		return err
	case errors.Is(err, ErrFenced) && !owner && !h.claiming:
		return err
	case err != nil:
		w.fail("%s: a transaction failed: %v", h.name, err)
	case !owner && !h.claiming:
		w.fail("%s is not the owner and has committed", h.name)
	}
	w.written = true
	if !h.claiming {
		w.committed(h)
	}
	w.look()
	if w.meets(faultAnswer) {
		return errModelFault
	}
	return nil
}

// dyingContext ends after it was looked at so many times. The database looks at it
// with each statement.
type dyingContext struct {
	context.Context
	left atomic.Int64
}

var modelEnded = make(chan struct{})

func init() { close(modelEnded) }

func (d *dyingContext) Done() <-chan struct{} {
	if d.left.Add(-1) < 0 {
		return modelEnded
	}
	return nil
}

func (d *dyingContext) Err() error {
	if d.over() {
		return context.Canceled
	}
	return nil
}

func (d *dyingContext) over() bool { return d != nil && d.left.Load() < 0 }

// context is what the next step works with.
func (h *modelHub) context() context.Context {
	h.dying = nil
	if !h.w.meets(faultStatement) {
		return context.Background()
	}
	h.dying = &dyingContext{Context: context.Background()}
	h.dying.left.Store(int64(h.w.looks))
	return h.dying
}

// owns tells whether no other hub has claimed since this one did.
func (h *modelHub) owns() bool { return h.lease != nil && h.lease.Epoch == h.cursor().epoch }

// cursor is what the books say of the hub's partition, if there still is one.
func (h *modelHub) cursor() cursorRow {
	if h.partition >= len(h.w.books.cursors) {
		return cursorRow{}
	}
	return h.w.books.cursors[h.partition]
}

// take a lease whose holder's time is up: so it is, for this clock is the
// database's, and the holder does not know yet.
func (h *modelHub) acquire() {
	w, ctx := h.w, context.Background()
	w.lives++
	h.leases = NewLeases(w.st, LeaseOptions{Hub: fmt.Sprintf("%s in life %d", h.name, w.lives), Length: time.Hour})
	if err := h.leases.Create(ctx, "p", w.partitions); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.st.SQL(ctx).Exec(ctx, `UPDATE avhub_cursors SET expires_at = 1 WHERE id = ? AND owner <> ''`, CursorID("p", h.partition)); err != nil {
		w.t.Fatal(err)
	}
	lease, err := h.leases.Acquire(ctx, PartitionID{"p", h.partition}, w.partitions)
	if err != nil || lease == nil {
		w.fail("%s does not get the lease of partition %d: %v", h.name, h.partition, err)
	}
	h.lease, w.written = lease, true
	w.look()
}

// start begins a new life of the hub. Whatever the one before was at is lost, as
// in a crash.
func (h *modelHub) start(partition int) {
	h.drop()
	w := h.w
	h.partition = partition
	h.acquire()
	c := New(
		Config{
			Name: "p", Partition: h.partition, Partitions: w.partitions, Events: []string{"member.*"},
			RetryFor: modelRetryFor, Park: w.park, ConfigHash: fmt.Sprint(w.hash),
		},
		Deps{
			Store: w.st, Journal: modelJournal{w.journal, w}, Mirror: h, Plugin: h, Hub: h.name, Lease: h.lease,
			Now:     func() time.Time { return w.now },
			Backoff: func(attempts int) time.Duration { return time.Duration(attempts) * modelBackoff },
		})
	c.limits, c.launch, c.inTx = w.limits, h.launch, h.inTx
	h.c, h.claiming = c, true
	h.unlucky, h.failing = map[string]time.Time{}, map[string]time.Time{}
	h.took, h.kept, h.again = map[int64]string{}, map[int64]bool{}, map[string]int64{}
	err := c.claim(context.Background())
	for errors.Is(err, errModelFault) {
		err = c.claim(context.Background())
	}
	h.claiming = false
	// What the books do not tell, no former owner can add: it is to be delivered
	// again.
	for _, f := range w.facts {
		if w.partition(f) == h.partition {
			f.deaths = 0
		}
		if !f.booked && w.partition(f) == h.partition {
			f.fate = ""
		}
	}
	halted := h.cursor().state == halted && h.cursor().hash == c.configHash()
	switch {
	case errors.Is(err, ErrHalted) && halted:
		h.drop()
	case err != nil:
		w.fail("%s cannot start: %v", h.name, err)
	case halted:
		w.fail("%s starts although the plugin has halted", h.name)
	default:
		if err := errors.Join(c.describe(), c.divide(context.Background())); err != nil {
			w.fail("%s: %v", h.name, err)
		}
	}
}

// drop ends the hub's life without a word.
func (h *modelHub) drop() {
	for _, call := range h.calls {
		if !call.begun {
			continue
		}
		h.say(call, modelAnswer{err: errModelFault})
	}
	if h.lease != nil {
		h.lease.end(false) // nobody waits for its end any more
	}
	h.c, h.lease, h.calls, h.taking, h.failed = nil, nil, nil, nil, false
}

// work is one turn of the consumer's loop.
func (h *modelHub) work() {
	switch {
	case h.c == nil:
	case !h.lease.held():
		h.drop() // once its calls have ended
	case h.taking != nil:
		h.commit()
	case h.c.halted != "":
		if len(h.calls) == 0 {
			h.finish(ErrHalted)
		}
	default:
		err := h.c.work(h.context())
		for h.c.replay != nil && h.c.replay.read {
			h.c.takeRead(<-h.c.reads)
		}
		h.ended(err)
	}
}

// ended looks at how a step ended: a database that fails has it repeated.
func (h *modelHub) ended(err error) (ok bool) {
	// Who has lost the lease without knowing may miss what is not kept for it.
	h.failed = errors.Is(err, errModelFault) || err != nil && h.dying.over() || errors.Is(err, journal.ErrPruned) && !h.owns()
	switch {
	case err == nil:
		return true
	case h.failed:
	case errors.Is(err, ErrFenced):
		if h.owns() {
			h.w.fail("%s owns the deliveries and is told that it does not", h.name)
		}
		h.drop()
	default:
		h.w.fail("%s: %v", h.name, err)
	}
	return false
}

// take takes one result back, if there is one.
func (h *modelHub) take() {
	if h.c == nil || h.taking != nil || h.failed {
		h.work() // the loop would not come to it
		return
	}
	select {
	case b := <-h.c.results:
		for i, call := range h.calls {
			if call.b == b {
				h.calls = append(h.calls[:i:i], h.calls[i+1:]...)
				h.taking = h.w.outcomeOf(call)
				break
			}
		}
		open := h.c.breaker.isOpen()
		h.c.unsaved = h.c.settle(b)
		h.w.settled(h)
		h.weighed(b, open)
		h.commit()
	default:
	}
}

func (h *modelHub) commit() {
	out := h.taking
	if !h.ended(h.c.save(h.context())) {
		return
	}
	if !out.written && out.mustWrite() {
		h.w.fail("%s: verdicts that must be kept were not committed: %v", h.name, out)
	}
	h.taking = nil
}

// finish ends the hub in peace: nothing waits for the calls in flight but their
// answers.
func (h *modelHub) finish(why error) {
	err := h.c.finish(why)
	h.w.look()
	switch {
	case errors.Is(err, ErrFenced) && !h.owns(), errors.Is(err, errModelFault):
	case h.cursor().state == halted && errors.Is(err, ErrHalted), errors.Is(err, why):
		// A new owner has nothing to do again.
		for _, position := range slices.Sorted(maps.Keys(h.took)) {
			if !h.w.facts[position-1].booked {
				h.w.fail("%s ends, and leaves event %d to be delivered again", h.name, position)
			}
		}
		if err := h.leases.Release(context.Background(), h.lease); err != nil {
			h.w.t.Fatal(err)
		}
	default:
		h.w.fail("%s did not finish: %v", h.name, err)
	}
	h.drop()
}
