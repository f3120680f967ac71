package laws

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// Laws 8 and 13: data that is not what it should be, and states.

// ids are the members without which nobody knows what an event is about.
func ids() []string {
	return []string{"tenant_id", "sub", "application_id", "provider_id", "invite_id", "membership_id", "assignment_id", "user_id"}
}

// wrongType is the value with another type.
func wrongType(v any) any {
	switch v.(type) {
	case string:
		return map[string]any{"not": []int{1}}
	case nil:
		return []any{17}
	default:
		return "not this"
	}
}

// spoiled is an event like another one, whose data has the wrong types: of all
// members, of all but the ids, or of one.
func spoiled(ev *pluginpb.Event, how, one int) *pluginpb.Event {
	data := map[string]any{}
	if json.Unmarshal(ev.GetData(), &data) != nil {
		return nil
	}
	names := slices.Sorted(maps.Keys(data))
	if how > 0 {
		names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(ids(), n) })
	}
	if len(names) == 0 {
		return nil
	}
	if how == 2 {
		names = names[one%len(names):][:1]
	}
	for _, n := range names {
		data[n] = wrongType(data[n])
	}
	out := copyOf(ev)
	out.Id, out.Data, out.Changes = ev.GetId()+"_bad", mustJSON(data), nil
	if how == 0 {
		// Nobody knows what it is about.
		out.Subject, out.TenantId, out.ApplicationId, out.Entities = "type:"+ev.GetType(), "", "", nil
		if out.GetKey() != "total" {
			out.Key = out.GetSubject()
		}
	}
	if len(out.GetBody()) > 0 {
		out.Body = bodyOf(out)
	}
	return out
}

func judgeBadEvent(ctx context.Context, e *engine, s script) error {
	b, err := e.baseline(ctx, s)
	if err != nil || len(b.history) == 0 {
		return err
	}
	rng := s.rng()
	at := rng.IntN(len(b.history))
	for how := range 3 {
		bad := spoiled(b.history[at].ev, how, rng.IntN(100))
		if bad == nil {
			continue
		}
		if err := e.judgeSpoiled(ctx, b, at, bad); err != nil {
			return err
		}
	}
	return nil
}

// judgeSpoiled plays a history with a bad event after the one at a place.
func (e *engine) judgeSpoiled(ctx context.Context, b *baseline, at int, bad *pluginpb.Event) error {
	st, err := e.stage(ctx, e.s.Start)
	if err != nil {
		return err
	}
	defer st.close()
	told := false
	for i, t := range b.history {
		if _, err := st.settle(ctx, t.ev); err != nil {
			return breachWith(err, "A bad event came before, and its neighbour was held up.")
		}
		if i != at {
			continue
		}
		// It is newer than its neighbour, and changes nothing in the mirror.
		bad.Revision, bad.OccurredAtUs = t.ev.GetRevision()+1, t.ev.GetOccurredAtUs()+1
		verdicts, err := st.settle(ctx, bad)
		if err != nil {
			return breachWith(err, fmt.Sprintf("A bad %s came, with this data: %s", bad.GetType(), bad.GetData()))
		}
		told = e.info.GetNotifies() && verdicts[0].GetKind() == pluginpb.Verdict_KIND_APPLIED
	}
	if told {
		return nil // it is told like any other, by one that looks at no data
	}
	got, err := st.look(ctx)
	if err != nil {
		return err
	}
	return same(fmt.Sprintf("A bad %s came after event %d, with the data %s, and it looks different from the history without it.",
		bad.GetType(), b.history[at].ev.GetPosition(), bad.GetData()), b.look, got)
}

func breachWith(err error, what string) error {
	if isBreach(err) {
		return breachf("%s\n%v", what, err)
	}
	return err
}

// longHistory is enough for a state that grows with every event to be too
// large: 520 events with ids of over 128 bytes.
const longHistory = 520

func judgeState(ctx context.Context, e *engine, s script) error {
	if err := e.judgeStates(ctx, s); err != nil {
		return err
	}
	return e.judgeGrowth(ctx)
}

// judgeStates looks at the state after each event of a history.
func (e *engine) judgeStates(ctx context.Context, s script) error {
	st, err := e.stage(ctx, e.s.Start)
	if err != nil {
		return err
	}
	defer st.close()
	history, _ := e.history(s)
	for _, t := range history {
		one := []*pluginpb.Event{t.ev}
		saved := st.states[t.ev.GetKey()]
		for what, older := range olderStates(saved) {
			if err := st.readable(ctx, one, what, older); err != nil {
				return err
			}
		}
		if _, err := st.settle(ctx, t.ev); err != nil {
			return err
		}
		if err := e.roundTrip(st.states[t.ev.GetKey()]); err != nil {
			return err
		}
	}
	return nil
}

// olderStates are states that another version may have written.
func olderStates(saved []byte) map[string][]byte {
	members := map[string]json.RawMessage{}
	if len(saved) == 0 || json.Unmarshal(saved, &members) != nil {
		return nil
	}
	out := map[string][]byte{"an empty state, {}": []byte("{}")}
	for name := range members {
		rest := maps.Clone(members)
		delete(rest, name)
		out[fmt.Sprintf("a state without its member %q", name)] = mustJSON(rest)
	}
	members["plugintest_member_of_the_future"] = json.RawMessage(`[1]`)
	out["a state with an unknown member"] = mustJSON(members)
	return out
}

// readable wants a verdict that does not wait for anything.
func (st *stage) readable(ctx context.Context, one []*pluginpb.Event, what string, state []byte) error {
	resp, err := st.ask(ctx, one, map[string][]byte{one[0].GetKey(): state})
	if err != nil {
		return lost(one[0], err)
	}
	switch v := resp.GetVerdicts()[0]; v.GetKind() {
	case pluginpb.Verdict_KIND_RETRY, pluginpb.Verdict_KIND_HALT, pluginpb.Verdict_KIND_HELD:
		return breachf("%s came with %s: %s. It was answered %s.", one[0].GetType(), what, state, kind(v))
	}
	return nil
}

// roundTrip takes a state through the connector's own type and back.
func (e *engine) roundTrip(state []byte) error {
	if len(state) == 0 || e.s.RoundTrip == nil {
		return nil
	}
	again, err := e.s.RoundTrip(state)
	if err != nil {
		return breachf("The state %s cannot be read again: %v", state, err)
	}
	if !bytes.Equal(canonical(state), canonical(again)) {
		return breachf("The state does not survive JSON: it was %s, and is %s after reading and writing it.", state, again)
	}
	return nil
}

func canonical(raw []byte) []byte {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return raw
	}
	return mustJSON(v)
}

// judgeGrowth delivers a long history of one key.
func (e *engine) judgeGrowth(ctx context.Context) error {
	typ := ""
	for _, t := range repeatable() {
		if slices.Contains(e.types, t) {
			typ = t
			break
		}
	}
	if typ == "" {
		return nil // nothing comes often for one key
	}
	st, err := e.stage(ctx, e.s.Start)
	if err != nil {
		return err
	}
	defer st.close()
	provider := e.newProvider(e.salt + strings.Repeat("x", 128))
	var batch []*pluginpb.Event
	for i := range longHistory {
		t, ok := provider.event(step{typ, 1, 1, 0, i})
		if !ok {
			continue
		}
		batch = append(batch, t.ev)
		if len(batch) < 104 {
			continue
		}
		verdicts, err := st.settle(ctx, batch...)
		if err != nil {
			return breachWith(err, fmt.Sprintf("After %d events of one key:", i))
		}
		for _, v := range verdicts {
			if v.GetKind() == pluginpb.Verdict_KIND_REJECT && i < longHistory/4 {
				return nil // it rejects them anyhow
			}
			if v.GetKind() == pluginpb.Verdict_KIND_REJECT {
				return breachf("Within %d events of one key, %s was answered %s; the state has %d bytes by now, and at most %d are kept.",
					i, typ, kind(v), len(st.states[batch[0].GetKey()]), plugin.MaxStateBytes)
			}
		}
		batch = nil
	}
	return nil
}
