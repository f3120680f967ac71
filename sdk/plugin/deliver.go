package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

const (
	// A tenth of a call's time is kept back for the answer, within these bounds,
	// but never more than half.
	minReserve = 500 * time.Millisecond
	maxReserve = time.Second
	// busyWait is how long a key waits for its own Deliver of an earlier call.
	// It is short because it delays the answer for the whole batch.
	busyWait = 250 * time.Millisecond
	// maxBatchState bounds the states of one answer, so that it fits into
	// MaxMessageBytes. When it is reached, the rest of the batch is held.
	maxBatchState = 12 << 20
)

// concurrency is how many keys of a batch run at once. Connectors mostly wait
// for somebody else's server, so it does not follow the processors down to one.
func concurrency() int { return max(16, 4*runtime.GOMAXPROCS(0)) }

// Deliver groups a batch by key and runs the keys concurrently, each in order.
//
// The answer has to leave before the caller's deadline, or the verdicts of
// everything that went well are lost with it. So events get a deadline that is
// a little earlier than the call's; what has not started by then is HELD; and
// an event that ignores its deadline is answered with RETRY while it still
// runs. Its key stays locked until it returns.
func (s *server[C, S]) Deliver(ctx context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	sess := s.use()
	if sess == nil {
		return nil, errNotConfigured("Deliver")
	}

	var reserve time.Duration
	evCtx, cancel := context.WithCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		cancel()
		left := max(0, time.Until(deadline))
		reserve = min(max(left/10, minReserve), maxReserve, left/2)
		evCtx, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
	}
	unhook := context.AfterFunc(sess.ctx, cancel)

	b := newBatch(req)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		defer sess.done()
		defer cancel()
		defer unhook()
		s.work(evCtx, sess, b)
	}()

	select {
	case <-finished:
	case <-evCtx.Done():
		// Those that honour their deadline come back now.
		timer := time.NewTimer(reserve / 4)
		defer timer.Stop()
		select {
		case <-finished:
		case <-timer.C:
		}
	}
	return b.answer(), nil
}

// work runs the lanes of a batch and returns when all have ended.
func (s *server[C, S]) work(ctx context.Context, sess *session[S], b *batch) {
	var wg sync.WaitGroup
	var next atomic.Int64
	var worker func()
	worker = func() {
		defer wg.Done()
		ended := false
		defer func() {
			// runtime.Goexit in the author's code ends this goroutine, not the
			// work.
			if !ended {
				wg.Add(1)
				go worker()
			}
		}()
		for {
			i := int(next.Add(1)) - 1
			if i >= len(b.lanes) {
				break
			}
			s.lane(ctx, sess, b, &b.lanes[i])
		}
		ended = true
	}
	n := min(concurrency(), len(b.lanes))
	wg.Add(n)
	for range n {
		go worker()
	}
	wg.Wait()
}

// lane delivers the events of one key, until one of them is not settled.
func (s *server[C, S]) lane(ctx context.Context, sess *session[S], b *batch, l *lane) {
	if !b.mayStart(ctx, sess.retired) {
		return
	}
	if !s.keys.lock(ctx, l.key, busyWait) {
		if ctx.Err() == nil {
			i := l.events[0]
			b.settle(i, verdictToWire(b.events[i].GetPosition(), errBusy, s.mask), nil)
		}
		return
	}
	defer s.keys.unlock(l.key)

	current := -1
	defer func() {
		if current >= 0 {
			err := errors.New("Deliver ended its goroutine instead of returning")
			b.settle(current, verdictToWire(b.events[current].GetPosition(), err, s.mask), nil)
		}
	}()
	saved := l.state // what the hub holds, or will after this batch
	for _, i := range l.events {
		if !b.mayStart(ctx, sess.retired) {
			return
		}
		b.start(i)
		current = i
		v, state := s.one(ctx, sess, b.events[i], b.fence, saved)
		current = -1
		if state != nil {
			saved = *state
			b.settle(i, v, &stateOf{l.key, saved})
		} else {
			b.settle(i, v, nil)
		}
		switch v.GetKind() {
		case pluginpb.Verdict_KIND_APPLIED, pluginpb.Verdict_KIND_SKIPPED, pluginpb.Verdict_KIND_REJECT:
		default:
			return
		}
	}
}

var errBusy = errors.New("the previous Deliver for this key ignored its deadline and is still running")

// one delivers one event. The returned state is nil if it has not changed; an
// empty one forgets the key.
//
// The state goes through JSON for every event, so that a connector behaves the
// same however its events are split into batches.
func (s *server[C, S]) one(ctx context.Context, sess *session[S], wire *pluginpb.Event, fence int64, saved []byte) (*pluginpb.Verdict, *[]byte) {
	st := new(S)
	before := s.zeroState
	if !s.stateless && len(saved) > 0 {
		err := json.Unmarshal(saved, st)
		if err == nil {
			before, err = json.Marshal(st)
		}
		if err != nil {
			// Not Reject: the state is the connector's memory of what it has done
			// outside, and only a person can say what to do about it.
			err = fmt.Errorf("reading the state of this key, which another version may have written: %w; "+
				"install a version that reads it, or reset the key's state", jsonProblem(err))
			s.log.Error("cannot read state", "type", wire.GetType(), "position", wire.GetPosition(), "error", err.Error())
			return verdictToWire(wire.GetPosition(), err, s.mask), nil
		}
	}

	err := s.call(ctx, sess, eventFromWire(wire, fence), st)
	var p *panicError
	if errors.As(err, &p) {
		// Whoever looks at the failure may not have the connector's log.
		return verdictToWire(wire.GetPosition(), errors.New(clipTo(s.mask.hide(p.Error()), maxReasonBytes/2)+p.top), s.mask), nil
	}
	v := verdictToWire(wire.GetPosition(), err, s.mask)
	if s.stateless {
		return v, nil
	}

	after, err := json.Marshal(st)
	if err == nil && len(after) > MaxStateBytes {
		err = fmt.Errorf("it is %d bytes, and at most %d are kept", len(after), MaxStateBytes)
	}
	if err != nil {
		// It would not fit the next time either. A halt says more than this does.
		if v.GetKind() != pluginpb.Verdict_KIND_HALT {
			v = verdictToWire(wire.GetPosition(), Reject(fmt.Errorf("saving the state of this key: %w", err)), s.mask)
		}
		return v, nil
	}
	switch {
	case bytes.Equal(after, before):
		return v, nil
	case bytes.Equal(after, s.zeroState):
		return v, &[]byte{}
	default:
		return v, &after
	}
}

// call runs the author's Deliver. A panic comes back as an error that leaves
// the key to be retried; its stack is in the log.
func (s *server[C, S]) call(ctx context.Context, sess *session[S], ev Event, st *S) error {
	err := guard(func() error { return sess.conn.Deliver(ctx, ev, st) })
	var p *panicError
	if errors.As(err, &p) {
		s.log.Error("Deliver panicked", "type", ev.Type, "position", ev.Position, "panic", p.Error(), "stack", p.stack)
	}
	return err
}
