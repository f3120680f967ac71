package laws

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// The laws that are about being cut off: 4, 5 and 14. Each event is delivered
// again and again, cut off at another place each time, until it is settled.

// cut is a place at which a delivery is cut off.
type cut struct {
	request int // from 1 within the call; 0: when the answer has left and is not saved yet
	kind    faultKind
}

func (c cut) String() string {
	switch {
	case c.request == 0:
		return "killed when its answer was on the way"
	case c.kind == lose:
		return fmt.Sprintf("reply to request %d lost", c.request)
	case c.kind == before:
		return fmt.Sprintf("killed before request %d", c.request)
	default:
		return fmt.Sprintf("killed after request %d", c.request)
	}
}

func kills(requests int) []cut {
	var out []cut
	for n := 1; n <= requests; n++ {
		out = append(out, cut{n, before}, cut{n, after})
	}
	return append(out, cut{})
}

func losses(requests int) []cut {
	var out []cut
	for n := 1; n <= requests; n++ {
		out = append(out, cut{n, lose})
	}
	return out
}

// cuts are the places for one event: in calls before it was answered AGAIN, and
// after.
type cuts struct{ plain, afterAgain []cut }

// judgeCut plays a history with cuts and compares it with the baseline. When
// that is broken, it looks for one cut that is enough.
func (e *engine) judgeCut(ctx context.Context, b *baseline, start func(context.Context) (Life, error), of func(probe) cuts) error {
	at := make([]cuts, len(b.history))
	left := e.maxKills()
	for i, p := range b.probes {
		at[i] = of(p)
		at[i].plain, left = fewer(at[i].plain, left)
		at[i].afterAgain, left = fewer(at[i].afterAgain, left)
	}
	all, err := e.playCut(ctx, b, start, at)
	if !isBreach(err) || len(all) < 2 {
		return err
	}
	for _, one := range all {
		only := make([]cuts, len(b.history))
		if one.afterAgain {
			only[one.event].afterAgain = []cut{one.cut}
		} else {
			only[one.event].plain = []cut{one.cut}
		}
		if _, alone := e.playCut(ctx, b, start, only); isBreach(alone) {
			return alone
		}
	}
	return err
}

// maxKills bounds the kills of one history: each costs the start of a process.
func (e *engine) maxKills() int { return 2 + 2*e.opts.Histories }

// fewer leaves out kills when there are enough. Lost replies cost nothing.
func fewer(at []cut, left int) ([]cut, int) {
	return slices.DeleteFunc(at, func(c cut) bool {
		if c.kind == lose {
			return false
		}
		left--
		return left < 0
	}), max(0, left)
}

// made is a cut that was made.
type made struct {
	cut
	event      int
	afterAgain bool
}

func (e *engine) playCut(ctx context.Context, b *baseline, start func(context.Context) (Life, error), at []cuts) ([]made, error) {
	st, err := e.stage(ctx, start)
	if err != nil {
		return nil, err
	}
	defer st.close()
	var all []made
	var lines []string
	for i, t := range b.history {
		done, err := st.deliverCut(ctx, t.ev, at[i])
		for _, m := range done {
			m.event = i
			all = append(all, m)
			lines = append(lines, fmt.Sprintf("event %d %s", t.ev.GetPosition(), m.cut))
		}
		if err != nil {
			return all, breachWith(err, "Interrupted were, and delivered again:\n"+listed(lines))
		}
	}
	got, err := st.look(ctx)
	if err != nil {
		return all, err
	}
	return all, same("It looks different from the run that nobody interrupted. Interrupted were, and delivered again:\n"+listed(lines), b.look, got)
}

func listed(lines []string) string {
	const most = 12
	text := ""
	for i, l := range lines {
		if i == most {
			return text + fmt.Sprintf("  … and %d more", len(lines)-most)
		}
		text += "  " + l + "\n"
	}
	return text[:max(0, len(text)-1)]
}

// deliverCut delivers one event until it is settled. It returns the cuts that
// were made.
func (st *stage) deliverCut(ctx context.Context, ev *pluginpb.Event, at cuts) ([]made, error) {
	var done []made
	one := []*pluginpb.Event{ev}
	for calls, retries := 0, maxRetries; ; calls++ {
		if calls > 200 {
			return done, breachf("%s was delivered %d times and is not settled", ev.GetType(), calls)
		}
		left, afterAgain := &at.plain, st.again[ev.GetId()] > 0
		if afterAgain {
			left = &at.afterAgain
		}
		var next *cut
		if len(*left) > 0 {
			next = &(*left)[0]
			*left = (*left)[1:]
		}
		if next != nil && next.request == 0 {
			// Nobody will ever know the answer.
			if _, err := st.ask(ctx, one, st.statesOf(one)); err != nil {
				return done, lost(ev, err)
			}
			done = append(done, made{cut: *next, afterAgain: afterAgain})
			if err := st.restart(ctx); err != nil {
				return done, err
			}
			continue
		}
		fired := st.arm(next)
		verdicts, err := st.call(ctx, one)
		if st.world.Gate != nil {
			st.world.Gate.open()
		}
		if fired.Load() {
			done = append(done, made{cut: *next, afterAgain: afterAgain})
			retries = maxRetries
			if next.kind != lose {
				// What the answer says, if there is one, reaches nobody.
				if err := st.restart(ctx); err != nil {
					return done, err
				}
				continue
			}
		}
		if err != nil {
			return done, lost(ev, err)
		}
		switch v := verdicts[0]; {
		case settled(v):
			st.again[ev.GetId()] = 0
			return done, nil
		case v.GetKind() == pluginpb.Verdict_KIND_AGAIN:
			if st.again[ev.GetId()]++; st.again[ev.GetId()] > maxAgain {
				return done, breachf("%s was answered again more than %d times in a row", ev.GetType(), maxAgain)
			}
		case v.GetKind() == pluginpb.Verdict_KIND_RETRY && retries > 0:
			retries--
		default:
			return done, breachf("%s was answered %s after it had been interrupted", ev.GetType(), kind(v))
		}
	}
}

func lost(ev *pluginpb.Event, err error) error {
	if isBreach(err) {
		return err
	}
	return breachf("a call with %s failed: %v", ev.GetType(), err)
}

// arm sets the gate for a cut, and tells later whether it was made.
func (st *stage) arm(c *cut) *atomic.Bool {
	fired := &atomic.Bool{}
	if c == nil || st.world.Gate == nil {
		return fired
	}
	life := st.life
	st.world.Gate.arm(func(n int) fault {
		if n != c.request || fired.Swap(true) {
			return fault{}
		}
		return fault{kind: c.kind, do: life.Kill}
	})
	return fired
}

func judgeKill(ctx context.Context, e *engine, s script) error {
	b, err := e.baseline(ctx, s)
	if err != nil {
		return err
	}
	rng := s.rng()
	all := rng.IntN(2) == 0
	return e.judgeCut(ctx, b, e.s.Process, func(p probe) cuts {
		at := kills(p.plain)
		if !all { // one kill an event, as more might hide what one shows
			at = at[rng.IntN(len(at)):][:1]
		}
		return cuts{plain: at} // what comes after an answer AGAIN is law 14's
	})
}

func judgeLostReply(ctx context.Context, e *engine, s script) error {
	b, err := e.baseline(ctx, s)
	if err != nil {
		return err
	}
	if !b.requests() {
		return undecidedf("it made no request to its world over HTTP")
	}
	return e.judgeCut(ctx, b, e.s.Start, func(p probe) cuts { return cuts{plain: losses(p.plain)} })
}

func judgeAgain(ctx context.Context, e *engine, s script) error {
	b, err := e.baseline(ctx, s)
	if err != nil {
		return err
	}
	if !b.again() {
		return undecidedf("it never answers again")
	}
	return e.judgeCut(ctx, b, e.s.Process, func(p probe) cuts {
		if !p.again {
			return cuts{}
		}
		return cuts{afterAgain: append(losses(p.afterAgain), kills(p.afterAgain)...)}
	})
}

func (b *baseline) again() bool {
	for _, p := range b.probes {
		if p.again {
			return true
		}
	}
	return false
}
