package laws

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

const orderTotal = pluginpb.Order_ORDER_TOTAL

// The laws that are about how a history is played: twice, in batches, mixed,
// from a snapshot.

// current is an event as the hub would hand it out now, with the rows as they
// stand now.
func (p *provider) current(ev *pluginpb.Event) *pluginpb.Event {
	out := copyOf(ev)
	for _, e := range out.GetEntities() {
		e.Json = p.shown(ref{e.GetKind(), e.GetId()})
	}
	return out
}

func judgeTwice(ctx context.Context, e *engine, s script) error {
	st, err := e.stage(ctx, e.s.Start)
	if err != nil {
		return err
	}
	defer st.close()
	history, provider := e.history(s)
	if err := st.play(ctx, history); err != nil {
		return err
	}
	once, err := st.look(ctx)
	if err != nil {
		return err
	}
	replay := s.rng().IntN(2) == 0
	for _, t := range history {
		ev := provider.current(t.ev)
		ev.Replay = replay
		if _, err := st.settle(ctx, ev); err != nil {
			return err
		}
	}
	twice, err := st.look(ctx)
	if err != nil {
		return err
	}
	return same("The history was delivered a second time, and it looks different from before.", once, twice)
}

// oneKey keeps the events of the key that has most.
func oneKey(history []told) []told {
	count := map[string]int{}
	best := ""
	for _, t := range history {
		count[t.ev.GetKey()]++
		if count[t.ev.GetKey()] > count[best] {
			best = t.ev.GetKey()
		}
	}
	return slices.DeleteFunc(slices.Clone(history), func(t told) bool { return t.ev.GetKey() != best })
}

func events(history []told) []*pluginpb.Event {
	out := make([]*pluginpb.Event, len(history))
	for i, t := range history {
		out[i] = t.ev
	}
	return out
}

// looks plays calls, one after the other, and looks.
func (e *engine) looks(ctx context.Context, calls ...[]*pluginpb.Event) (string, error) {
	st, err := e.stage(ctx, e.s.Start)
	if err != nil {
		return "", err
	}
	defer st.close()
	for _, batch := range calls {
		if len(batch) == 0 {
			continue
		}
		if _, err := st.settle(ctx, batch...); err != nil {
			return "", err
		}
	}
	return st.look(ctx)
}

func singly(evs []*pluginpb.Event) [][]*pluginpb.Event {
	out := make([][]*pluginpb.Event, len(evs))
	for i, ev := range evs {
		out[i] = []*pluginpb.Event{ev}
	}
	return out
}

func judgeBatches(ctx context.Context, e *engine, s script) error {
	history, _ := e.history(s)
	evs := events(oneKey(history))
	if len(evs) < 2 {
		return undecidedf("no key has two events")
	}
	want, err := e.looks(ctx, singly(evs)...)
	if err != nil {
		return err
	}
	rng := s.rng()
	for i := range 3 {
		var calls [][]*pluginpb.Event
		for rest := evs; len(rest) > 0; {
			n := len(rest)
			if i > 0 {
				n = 1 + rng.IntN(len(rest))
			}
			batch := rest[:n]
			if e.info.GetCoalesce() {
				batch = batch[n-1:] // the hub leaves out what waited before it
			}
			calls, rest = append(calls, batch), rest[n:]
		}
		got, err := e.looks(ctx, calls...)
		if err != nil {
			return err
		}
		if err := same("The events of one key were delivered in calls of several instead of one by one, and it looks different.", want, got); err != nil {
			return err
		}
	}
	return nil
}

// mixed is another order in which each key's own is kept.
func mixed(rng *rand.Rand, evs []*pluginpb.Event) []*pluginpb.Event {
	lanes := map[string][]*pluginpb.Event{}
	var keys []string
	for _, ev := range evs {
		if lanes[ev.GetKey()] == nil {
			keys = append(keys, ev.GetKey())
		}
		lanes[ev.GetKey()] = append(lanes[ev.GetKey()], ev)
	}
	var out []*pluginpb.Event
	for len(keys) > 0 {
		i := rng.IntN(len(keys))
		lane := lanes[keys[i]]
		n := 1 + rng.IntN(len(lane))
		out = append(out, lane[:n]...)
		if lanes[keys[i]] = lane[n:]; n == len(lane) {
			keys = slices.Delete(keys, i, i+1)
		}
	}
	return out
}

func judgeInterleaving(ctx context.Context, e *engine, s script) error {
	history, _ := e.history(s)
	evs := events(history)
	if slices.IndexFunc(evs, func(ev *pluginpb.Event) bool { return ev.GetKey() != evs[0].GetKey() }) < 0 {
		return undecidedf("all events are of one key")
	}
	want, err := e.looks(ctx, singly(evs)...)
	if err != nil {
		return err
	}
	rng := s.rng()
	for range 3 {
		got, err := e.looks(ctx, singly(mixed(rng, evs))...)
		if err != nil {
			return err
		}
		if err := same("The events of different keys were delivered in another order among each other, and it looks different.", want, got); err != nil {
			return err
		}
	}
	got, err := e.looks(ctx, rounds(evs)...)
	if err != nil {
		return err
	}
	return same("Events of different keys were delivered in one call, to be worked on at the same time, and it looks different.", want, got)
}

// rounds are calls with one event of each key: the first ones, the second ones.
func rounds(evs []*pluginpb.Event) [][]*pluginpb.Event {
	var out [][]*pluginpb.Event
	count := map[string]int{}
	for _, ev := range evs {
		n := count[ev.GetKey()]
		count[ev.GetKey()]++
		if n == len(out) {
			out = append(out, nil)
		}
		out[n] = append(out[n], ev)
	}
	return out
}

func judgeSnapshot(ctx context.Context, e *engine, s script) error {
	b, err := e.baseline(ctx, s)
	if err != nil {
		return err
	}
	snapshot := b.provider.snapshot(func(typ string) bool { return slices.Contains(e.types, typ) })
	if len(snapshot) == 0 {
		return undecidedf("it wants no type of event that comes in a snapshot")
	}
	got, err := e.looks(ctx, singly(events(snapshot))...)
	if err != nil {
		return err
	}
	return same("One event for each subject, with its row as it stands, does not bring about what the full history did.", b.look, got)
}

// overrules tells whether the second of two steps overrules all that the first
// one says.
func overrules(older, newer step) bool {
	switch {
	case older.tenant != newer.tenant || older.thing != newer.thing:
		return false
	case older.typ == newer.typ:
		return older.field == newer.field && slices.Contains(repeatable(), older.typ)
	}
	for _, pair := range [][2]string{
		{"tenant.updated", "tenant.deleted"}, {"tenant.suspended", "tenant.deleted"},
		{"subject.updated", "subject.deleted"}, {"subject.deactivated", "subject.deleted"},
		{"application.updated", "application.deleted"}, {"sso.provider_updated", "sso.provider_removed"},
		{"member.suspended", "member.activated"}, {"member.joined", "member.left"}, {"license.assigned", "license.revoked"},
		{"app_access.granted", "app_access.revoked"},
	} {
		if older.typ == pair[0] && newer.typ == pair[1] {
			return true
		}
	}
	return false
}

// repeatable types say the same field again with another value.
func repeatable() []string {
	return []string{"tenant.updated", "subject.updated", "member.role_changed", "license.changed", "app_access.role_changed",
		"application.updated", "sso.provider_updated"}
}

// writePair is a script whose last step overrules the one before it.
func writePair(e *engine, rng *rand.Rand, f flavour) script {
	s := write(rng, e.types, flavour{steps: 3 + rng.IntN(4)})
	var pairs, alike [][2]step
	for _, a := range e.types {
		for _, b := range e.types {
			older := step{a, 1 + rng.IntN(2), 1 + rng.IntN(2), rng.IntN(2), rng.IntN(4)}
			newer := older
			newer.typ, newer.value = b, older.value+1
			if overrules(older, newer) {
				pairs = append(pairs, [2]step{older, newer})
			}
			if overrules(older, newer) && a == b {
				alike = append(alike, [2]step{older, newer})
			}
		}
	}
	if len(alike) > 0 && rng.IntN(2) == 0 {
		pairs = alike // two values of one field say more than an end
	}
	if len(pairs) > 0 {
		pair := pairs[rng.IntN(len(pairs))]
		s.steps = append(s.steps, pair[0], pair[1])
	}
	return s
}

func judgeRevision(ctx context.Context, e *engine, s script) error {
	n := len(s.steps)
	if n < 2 || !overrules(s.steps[n-2], s.steps[n-1]) {
		return undecidedf("it wants no types of which one can overrule the other")
	}
	provider := e.newProvider(e.salt)
	var history []told
	for _, st := range s.steps[:n-2] {
		if t, ok := provider.event(st); ok {
			history = append(history, t)
		}
	}
	older, ok := provider.event(s.steps[n-2])
	newer, also := provider.event(s.steps[n-1])
	if !ok || !also || older.ev.GetSubject() != newer.ev.GetSubject() {
		return undecidedf("no event overruled another")
	}
	st, err := e.stage(ctx, e.s.Start)
	if err != nil {
		return err
	}
	defer st.close()
	if err := st.play(ctx, append(history, newer)); err != nil {
		return err
	}
	want, err := st.look(ctx)
	if err != nil {
		return err
	}
	late := provider.current(older.ev)
	late.Position, late.Superseded, late.Changes = newer.ev.GetPosition()+1, true, nil
	again := provider.current(older.ev)
	again.Replay = true
	for i, ev := range []*pluginpb.Event{again, late} {
		if _, err := st.settle(ctx, ev); err != nil {
			return err
		}
		got, err := st.look(ctx)
		if err != nil {
			return err
		}
		how := "as a dead letter that was delivered again"
		if i == 1 {
			how = "marked as superseded"
		}
		if err := same("The last event but one came after the last, "+how+", and changed how it looks.", want, got); err != nil {
			return err
		}
	}
	return nil
}
