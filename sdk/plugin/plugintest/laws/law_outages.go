package laws

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// outage is something that a server does instead of its work, and the verdict
// that it has to lead to.
type outage struct {
	what string
	fault
	want pluginpb.Verdict_Kind
}

// retryAfter is what a throttling server asks for.
const retryAfter = 2 * time.Second

func outages() []outage {
	return []outage{
		{"429 with Retry-After: 2", fault{kind: answer, status: http.StatusTooManyRequests, header: http.Header{"Retry-After": {"2"}}}, pluginpb.Verdict_KIND_RETRY},
		{"500", fault{kind: answer, status: http.StatusInternalServerError}, pluginpb.Verdict_KIND_RETRY},
		{"401", fault{kind: answer, status: http.StatusUnauthorized}, pluginpb.Verdict_KIND_HALT},
		{"400", fault{kind: answer, status: http.StatusBadRequest}, pluginpb.Verdict_KIND_REJECT},
		{"nothing at all", fault{kind: hang}, pluginpb.Verdict_KIND_RETRY},
	}
}

func judgeOutages(ctx context.Context, e *engine, s script) error {
	b, err := e.baseline(ctx, s)
	if err != nil {
		return err
	}
	var with []int // events that make requests
	for i, p := range b.probes {
		if p.plain+p.afterAgain > 0 {
			with = append(with, i)
		}
	}
	if len(with) == 0 {
		return undecidedf("it made no request to its world over HTTP")
	}
	rng := s.rng()
	for _, o := range outages() {
		if err := e.judgeOutage(ctx, b, o, with[rng.IntN(len(with))]); err != nil {
			return err
		}
	}
	return nil
}

// judgeOutage plays a history in which the outside fails during one event.
func (e *engine) judgeOutage(ctx context.Context, b *baseline, o outage, during int) error {
	st, err := e.stage(ctx, e.s.Start)
	if err != nil {
		return err
	}
	defer st.close()
	for i, t := range b.history {
		if i == during {
			v, err := st.duringOutage(ctx, t.ev, o.fault)
			if err != nil {
				return err
			}
			if err := o.judge(t.ev, v); err != nil {
				return err
			}
			switch v.GetKind() {
			case pluginpb.Verdict_KIND_REJECT:
				return nil // it is gone; the rest is as ever
			case pluginpb.Verdict_KIND_HALT:
				if err := st.restart(ctx); err != nil {
					return err
				}
			}
		}
		if _, err := st.settleWithin(ctx, maxRetries, []*pluginpb.Event{t.ev}); err != nil {
			return err
		}
	}
	got, err := st.look(ctx)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("The outside answered %s during event %d, which was delivered again when that was over, and it looks different.", o.what, b.history[during].ev.GetPosition())
	return same(what, b.look, got)
}

// duringOutage delivers an event while every request fails, until it is not
// answered again any more, and lets the outside recover.
func (st *stage) duringOutage(ctx context.Context, ev *pluginpb.Event, f fault) (*pluginpb.Verdict, error) {
	st.world.Gate.arm(func(int) fault { return f })
	defer st.world.Gate.open()
	if f.kind == hang {
		// The connector's own time limit may be longer than anybody wants to wait.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 1200*time.Millisecond)
		defer cancel()
	}
	for range maxAgain {
		verdicts, err := st.call(ctx, []*pluginpb.Event{ev})
		if err != nil {
			return nil, breachf("while the outside failed, the call with %s failed, too, instead of having a verdict: %v", ev.GetType(), err)
		}
		if verdicts[0].GetKind() != pluginpb.Verdict_KIND_AGAIN {
			return verdicts[0], nil
		}
		st.again[ev.GetId()]++
	}
	return nil, breachf("%s was answered again more than %d times in a row", ev.GetType(), maxAgain)
}

func (o outage) judge(ev *pluginpb.Event, v *pluginpb.Verdict) error {
	if v.GetKind() != o.want {
		return breachf("The outside answered %s, and %s was answered %s instead of %s.", o.what, ev.GetType(), kind(v), kind(&pluginpb.Verdict{Kind: o.want}))
	}
	switch asked := time.Duration(v.GetRetryAfterMs()) * time.Millisecond; {
	case o.status == http.StatusTooManyRequests && (!v.GetThrottled() || asked < retryAfter || asked > 10*retryAfter):
		return breachf("The outside answered %s, and %s was answered retry, throttled %v, after %v.", o.what, ev.GetType(), v.GetThrottled(), asked)
	case o.status != http.StatusTooManyRequests && o.want == pluginpb.Verdict_KIND_RETRY && v.GetThrottled():
		return breachf("The outside answered %s, which names no time, and %s was answered retry as if it had been asked to wait for %v: such attempts are not counted and go on for ever.", o.what, ev.GetType(), asked)
	}
	return nil
}
