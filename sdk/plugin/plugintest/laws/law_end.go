package laws

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Laws 11 and 12: how a call ends that is cancelled, and how a connector ends.

// started is how long a call runs before it is cancelled where nobody sees its
// requests.
const started = 20 * time.Millisecond

func judgeCancel(ctx context.Context, e *engine, s script) error {
	st, err := e.stage(ctx, e.s.Start)
	if err != nil {
		return err
	}
	defer st.close()
	history, _ := e.history(s)
	for _, t := range history {
		cancelled, err := st.cancelled(ctx, t.ev)
		if err != nil || cancelled {
			return err
		}
		// It was through before it could be cancelled.
		if _, err := st.settleWithin(ctx, maxRetries, []*pluginpb.Event{t.ev}); err != nil {
			return err
		}
	}
	return nil
}

// cancelled delivers an event, cancels the call in its middle, and looks how
// long the connector goes on; false if the call had ended before.
func (st *stage) cancelled(ctx context.Context, ev *pluginpb.Event) (bool, error) {
	var heard <-chan struct{}
	if st.world.Gate != nil {
		heard = st.world.Gate.arm(func(int) fault { return fault{kind: hang} })
		defer st.world.Gate.open()
	}
	call, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		one := []*pluginpb.Event{ev}
		_, err := st.life.Client().Deliver(call, &pluginpb.DeliverRequest{Events: one, States: st.statesOf(one)})
		ended <- err
	}()
	wait := time.NewTimer(started)
	defer wait.Stop()
	if heard != nil {
		wait.Reset(2 * time.Second)
	}
	select {
	case <-heard:
	case <-wait.C:
	case err := <-ended:
		if err != nil {
			return false, lost(ev, err)
		}
		return false, nil
	}
	cancel()
	at := time.Now()
	<-ended
	if st.world.Gate != nil && !st.world.Gate.allLeft(cancelWithin) {
		return true, breachf("The call with %s was cancelled while a request was waiting for its answer, and %v later it was still waiting.", ev.GetType(), cancelWithin)
	}
	drain, stop := context.WithTimeout(ctx, callWithin)
	defer stop()
	_, err := st.life.Client().Drain(drain, &pluginpb.DrainRequest{TimeoutMs: 0})
	if took := time.Since(at); err != nil || took > cancelWithin {
		return true, breachf("The call with %s was cancelled, and Deliver was still running %v later (%v).", ev.GetType(), took.Round(time.Millisecond), err)
	}
	return true, nil
}

// quiet is how long nothing may happen after a drain.
const quiet = 150 * time.Millisecond

func judgeDrain(ctx context.Context, e *engine, s script) error {
	if err := e.drained(ctx, s, e.s.Start); err != nil {
		return err
	}
	return e.drained(ctx, s, e.s.Process)
}

func (e *engine) drained(ctx context.Context, s script, start func(context.Context) (Life, error)) error {
	st, err := e.stage(ctx, start)
	if err != nil {
		return err
	}
	defer st.close()
	history, _ := e.history(s)
	client := st.life.Client()
	drained := false
	for _, t := range history {
		if drained, err = st.drainDuring(ctx, t.ev); err != nil {
			return err
		}
		if drained {
			break
		}
	}
	if !drained {
		if err := st.drain(ctx); err != nil {
			return err
		}
	}
	before := st.world.Gate.Requests()
	if len(history) > 0 {
		late, cancel := context.WithTimeout(ctx, callWithin)
		defer cancel()
		_, err := client.Deliver(late, &pluginpb.DeliverRequest{Events: events(history[:1])})
		if status.Code(err) != codes.FailedPrecondition {
			return breachf("A Deliver after the drain was not refused with FAILED_PRECONDITION (%v).", err)
		}
	}
	if err := st.stop(); err != nil {
		return breachf("It did not end by itself after the drain: %v", err)
	}
	time.Sleep(quiet) // nothing tells when nothing happens
	if n := st.world.Gate.Requests() - before; n > 0 {
		return breachf("It made %d requests after the drain.", n)
	}
	if left := st.life.Leaks(); len(left) > 0 {
		return breachf("After the drain and the end of serving, %d of its goroutines are left:\n%s", len(left), strings.Join(left, "\n"))
	}
	return nil
}

func (st *stage) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	if _, err := st.life.Client().Drain(ctx, &pluginpb.DrainRequest{TimeoutMs: 5000}); err != nil {
		return breachf("Drain failed: %v", err)
	}
	return nil
}

// drainDuring drains in the middle of an event, and lets that finish; false if
// the event was through without a request.
func (st *stage) drainDuring(ctx context.Context, ev *pluginpb.Event) (bool, error) {
	if st.world.Gate == nil {
		_, err := st.settle(ctx, ev)
		return false, err
	}
	heard := st.world.Gate.arm(func(n int) fault {
		if n == 1 {
			return fault{kind: hold}
		}
		return fault{}
	})
	defer st.world.Gate.open()
	type answered struct {
		verdicts []*pluginpb.Verdict
		err      error
	}
	inFlight := make(chan answered, 1)
	go func() {
		v, err := st.call(ctx, []*pluginpb.Event{ev})
		inFlight <- answered{v, err}
	}()
	var a answered
	select {
	case <-heard:
	case a = <-inFlight:
		if a.err != nil {
			return false, lost(ev, a.err)
		}
		if a.verdicts[0].GetKind() == pluginpb.Verdict_KIND_AGAIN {
			return st.drainDuring(ctx, ev)
		}
		return false, nil
	}
	done := make(chan error, 1)
	go func() { done <- st.drain(ctx) }()
	select {
	case err := <-done:
		if err == nil {
			err = breachf("The drain was over while %s was still in flight.", ev.GetType())
		}
		return true, err
	case <-time.After(5 * started): // it waits, as it has to
	}
	st.world.Gate.open()
	a = <-inFlight
	if a.err != nil {
		return true, breachf("%s was in flight when the drain came, had time to finish, and was cut off: %v", ev.GetType(), a.err)
	}
	switch v := a.verdicts[0]; {
	case settled(v), v.GetKind() == pluginpb.Verdict_KIND_AGAIN:
	default:
		return true, breachf("%s was in flight when the drain came, had time to finish, and was answered %s.", ev.GetType(), kind(v))
	}
	if err := <-done; err != nil {
		return true, fmt.Errorf("draining while %s was in flight: %w", ev.GetType(), err)
	}
	return true, nil
}
