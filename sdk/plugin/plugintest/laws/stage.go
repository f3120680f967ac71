package laws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// stage is a connector and its world while something is played. It does the
// hub's part: it keeps the states, and sends again what is not settled.
type stage struct {
	e      *engine
	start  func(context.Context) (Life, error)
	world  World
	life   Life
	states map[string][]byte
	// again counts the answers AGAIN in a row, per event.
	again map[string]int
	// onCall is told of each call before it, and returns what to tell after it.
	onCall func(ev *pluginpb.Event, afterAgain bool) (done func())
	// told is everything that the connector let out, for law 1.
	reasons strings.Builder
	logs    strings.Builder
}

// stage makes a fresh world and starts the connector in it.
func (e *engine) stage(ctx context.Context, start func(context.Context) (Life, error)) (*stage, error) {
	w, err := e.s.World(ctx)
	if err != nil {
		return nil, fmt.Errorf("making a fresh world: %w", err)
	}
	st := &stage{e: e, start: start, world: w, states: map[string][]byte{}, again: map[string]int{}}
	if err := st.begin(ctx); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// begin starts a life and configures it.
func (st *stage) begin(ctx context.Context) error {
	life, err := st.start(ctx)
	if err != nil {
		return fmt.Errorf("starting the connector: %w", err)
	}
	st.life = life
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	resp, err := life.Client().Configure(ctx, &pluginpb.ConfigureRequest{Config: st.world.Config})
	if err != nil {
		return fmt.Errorf("configuring the connector: %w", err)
	}
	if err := configErrors(resp); err != nil {
		return fmt.Errorf("the connector rejects the configuration of the world: %w", err)
	}
	return nil
}

// configErrors joins the diagnostics that reject a configuration.
func configErrors(resp *pluginpb.ConfigureResponse) error {
	var errs []error
	for _, d := range resp.GetDiagnostics() {
		if d.GetSeverity() != pluginpb.Diagnostic_SEVERITY_WARNING {
			errs = append(errs, errors.New(diagnosed(d)))
		}
	}
	return errors.Join(errs...)
}

// diagnosed is a diagnostic in a line.
func diagnosed(d *pluginpb.Diagnostic) string {
	text := d.GetSummary()
	if d.GetPath() != "" {
		text = d.GetPath() + ": " + text
	}
	if d.GetDetail() != "" {
		text += "; " + d.GetDetail()
	}
	return text
}

// restart ends the life as kill -9 does, and begins the next one.
func (st *stage) restart(ctx context.Context) error {
	st.life.Kill()
	st.keepLog()
	return st.begin(ctx)
}

func (st *stage) keepLog() {
	st.logs.WriteString(st.life.Log())
	st.life = nil
}

// stop ends the life in order; what is wrong with that is law 12's.
func (st *stage) stop() error {
	if st.life == nil {
		return nil
	}
	err := st.life.Stop()
	return err
}

func (st *stage) close() {
	if st.world.Gate != nil {
		st.world.Gate.open()
	}
	if st.life != nil {
		st.life.Kill()
		st.keepLog()
	}
	st.e.lastLog = st.logs.String()
	if st.world.Close != nil {
		st.world.Close()
	}
}

// call sends events once, and takes the answer as a hub does.
func (st *stage) call(ctx context.Context, events []*pluginpb.Event) ([]*pluginpb.Verdict, error) {
	if st.onCall != nil {
		defer st.onCall(events[0], st.again[events[0].GetId()] > 0)()
	}
	resp, err := st.ask(ctx, events, st.statesOf(events))
	if err != nil {
		return nil, err
	}
	st.save(resp)
	return resp.GetVerdicts(), nil
}

// save keeps the states of an answer.
func (st *stage) save(resp *pluginpb.DeliverResponse) {
	for key, state := range resp.GetStates() {
		if len(state) == 0 {
			delete(st.states, key)
		} else {
			st.states[key] = state
		}
	}
}

func (st *stage) statesOf(events []*pluginpb.Event) map[string][]byte {
	states := map[string][]byte{}
	for _, ev := range events {
		if s, ok := st.states[ev.GetKey()]; ok {
			states[ev.GetKey()] = s
		}
	}
	return states
}

// ask sends events once and forgets the states of the answer.
func (st *stage) ask(ctx context.Context, events []*pluginpb.Event, states map[string][]byte) (*pluginpb.DeliverResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	resp, err := st.life.Client().Deliver(ctx, &pluginpb.DeliverRequest{Events: events, States: states})
	if err != nil {
		return nil, err
	}
	if len(resp.GetVerdicts()) != len(events) {
		return nil, breachf("a call with %d events was answered with %d verdicts", len(events), len(resp.GetVerdicts()))
	}
	keys := map[string]bool{}
	for i, ev := range events {
		keys[ev.GetKey()] = true
		v := resp.GetVerdicts()[i]
		st.reasons.WriteString(v.GetReason() + "\n")
		if v.GetPosition() != ev.GetPosition() {
			return nil, breachf("verdict %d is for position %d, and event %d has position %d", i, v.GetPosition(), i, ev.GetPosition())
		}
	}
	for key, state := range resp.GetStates() {
		st.reasons.WriteString("state " + string(state) + "\n")
		switch {
		case !keys[key]:
			return nil, breachf("a state came back for the key %q, of which no event was in the call", key)
		case len(state) > plugin.MaxStateBytes:
			return nil, breachf("the state of key %q has %d bytes, and at most %d are kept", key, len(state), plugin.MaxStateBytes)
		case len(state) > 0 && !json.Valid(state):
			return nil, breachf("the state of key %q is not JSON", key)
		}
	}
	return resp, nil
}

func settled(v *pluginpb.Verdict) bool {
	switch v.GetKind() {
	case pluginpb.Verdict_KIND_APPLIED, pluginpb.Verdict_KIND_SKIPPED, pluginpb.Verdict_KIND_REJECT:
		return true
	}
	return false
}

// kind is a verdict in a word.
func kind(v *pluginpb.Verdict) string {
	text := strings.ToLower(strings.TrimPrefix(v.GetKind().String(), "KIND_"))
	if v.GetReason() != "" {
		text += fmt.Sprintf(" (%s)", v.GetReason())
	}
	return text
}

// settle plays events to the end, all in one call and what is left in the
// next, in a world where nothing goes wrong: any verdict but applied, skipped,
// rejected and again is a breach. It returns the last verdict of each.
func (st *stage) settle(ctx context.Context, events ...*pluginpb.Event) ([]*pluginpb.Verdict, error) {
	return st.settleWithin(ctx, 0, events)
}

// settleWithin forgives so many answers RETRY, as after a fault.
func (st *stage) settleWithin(ctx context.Context, retries int, events []*pluginpb.Event) ([]*pluginpb.Verdict, error) {
	out := make([]*pluginpb.Verdict, len(events))
	left := make([]int, len(events))
	for i := range events {
		left[i] = i
	}
	held := 0
	for len(left) > 0 {
		batch := make([]*pluginpb.Event, len(left))
		for i, at := range left {
			batch[i] = events[at]
		}
		verdicts, err := st.call(ctx, batch)
		if err != nil {
			if isBreach(err) {
				return nil, err
			}
			return nil, breachf("a call with %s failed: %v", events[left[0]].GetType(), err)
		}
		var next []int
		var wait time.Duration
		moved := false
		for i, v := range verdicts {
			at := left[i]
			out[at] = v
			ev := events[at]
			switch {
			case settled(v):
				moved = true
				st.again[ev.GetId()] = 0
				continue
			case v.GetKind() == pluginpb.Verdict_KIND_AGAIN:
				moved = true
				if st.again[ev.GetId()]++; st.again[ev.GetId()] > maxAgain {
					return nil, breachf("%s was answered again more than %d times in a row", ev.GetType(), maxAgain)
				}
			case v.GetKind() == pluginpb.Verdict_KIND_HELD:
			case v.GetKind() == pluginpb.Verdict_KIND_RETRY && retries > 0:
				retries--
				moved = true
				if v.GetThrottled() { // it may have to leave the outside alone, as it was asked
					wait = max(wait, time.Duration(v.GetRetryAfterMs())*time.Millisecond)
				}
			default:
				return nil, breachf("nothing was wrong outside, and yet %s %s was answered %s", ev.GetType(), ev.GetSubject(), kind(v))
			}
			next = append(next, at)
		}
		if !moved {
			if held++; held > 3 {
				return nil, breachf("%s was answered held although no event before it was unsettled", events[next[0]].GetType())
			}
		} else {
			held = 0
		}
		if err := pause(ctx, min(wait, 10*retryAfter)); err != nil {
			return nil, err
		}
		left = next
	}
	return out, nil
}

// pause lets time pass.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// play settles a history, one event a call.
func (st *stage) play(ctx context.Context, history []told) error {
	for _, t := range history {
		if _, err := st.settle(ctx, t.ev); err != nil {
			return err
		}
	}
	return nil
}

// look is what is outside, as canonical JSON.
func (st *stage) look(ctx context.Context) (string, error) {
	if st.world.Look == nil {
		return "", nil
	}
	v, err := st.world.Look(ctx)
	if err != nil {
		return "", fmt.Errorf("looking at the world: %w", err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("looking at the world: what look returns has to be something that JSON can say: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return "", fmt.Errorf("looking at the world: %w", err)
	}
	out, err := json.MarshalIndent(tree, "", "  ")
	return string(out), err
}

// copyOf is an event that may be changed.
func copyOf(ev *pluginpb.Event) *pluginpb.Event { return proto.Clone(ev).(*pluginpb.Event) }

// difference shows the lines in which two looks differ.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out []string
	counts := map[string]int{}
	for _, l := range a {
		counts[l]++
	}
	for _, l := range b {
		counts[l]--
	}
	add := func(sign string, lines []string, by int) {
		for _, l := range lines {
			if counts[l]*by > 0 {
				counts[l] -= by
				out = append(out, sign+" "+l)
			}
		}
	}
	add("-", a, 1)
	add("+", b, -1)
	if len(out) == 0 {
		out = []string{"  the same lines in another order: sort what look returns if order means nothing"}
	}
	const most = 16
	if len(out) > most {
		out = append(out[:most], fmt.Sprintf("  … and %d lines more", len(out)-most))
	}
	return strings.Join(out, "\n")
}

// same compares two looks.
func same(what, want, got string) error {
	if want == got {
		return nil
	}
	return breachf("%s\n(-: as it should look, +: as it looks)\n%s", what, difference(want, got))
}
