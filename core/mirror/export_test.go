package mirror

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/avhub/avhub/core/event"
)

// SweepBy makes the children of what is deleted be looked up so many at a time.
func (m *Mirror) SweepBy(keys int) { m.models.sweepKeys = keys }

// FoldWithin makes folds keep only so many states in memory.
func (m *Mirror) FoldWithin(states int) { m.foldStates = states }

// InMemory plays events without a database and returns a line for each entity:
// its row and its encoded state.
func InMemory(events []*event.Event, opts Options) (map[Ref]string, error) {
	return InMemoryWithFacts(events, nil, opts)
}

// InMemoryWithFacts does the same with facts that were kept, in any order.
func InMemoryWithFacts(events []*event.Event, facts []Fact, opts Options) (map[Ref]string, error) {
	ms := New(nil, opts).models
	states := map[Ref]*state{}
	var told [][]*effect
	for _, ev := range events {
		if effects, err := ms.effects(ev); err == nil {
			told = append(told, effects)
		}
	}
	for i := range facts {
		effects, err := ms.factEffects(&facts[i])
		if err != nil {
			return nil, err
		}
		told = append(told, effects)
	}
	for _, effects := range told {
		for _, e := range effects {
			ref := Ref{e.model.kind, e.id}
			if states[ref] == nil {
				states[ref] = &state{}
			}
			// The state makes the round trip through its encoding every time, as
			// it does in the database.
			s, err := decodeState(e.model, states[ref].encode())
			if err != nil {
				return nil, fmt.Errorf("%v: %w", ref, err)
			}
			s.merge(e)
			states[ref] = &s
		}
	}
	lines := map[Ref]string{}
	for ref, s := range states {
		m := ms.byKind(ref.Kind)
		var parentDeleted clock
		for _, p := range m.parents {
			if of := states[Ref{p.kind, s.parent(p.field)}]; of != nil {
				parentDeleted = latest(parentDeleted, of.deleted)
			}
		}
		r := m.project(s, parentDeleted)
		lines[ref] = r.line(m) + "\n  " + string(s.encode())
	}
	return lines, nil
}

// Expected computes the rows from the law itself: from the whole set of events
// at once, without merging anything.
func Expected(events []*event.Event, opts Options) map[Ref]string {
	ms := New(nil, opts).models
	all := map[Ref][]*effect{}
	for _, ev := range events {
		effects, err := ms.effects(ev)
		if err != nil {
			continue
		}
		for _, e := range effects {
			ref := Ref{e.model.kind, e.id}
			all[ref] = append(all[ref], e)
		}
	}
	lines := map[Ref]string{}
	for ref, effects := range all {
		m := ms.byKind(ref.Kind)
		own := lastDeletion(effects)
		floor := own
		for _, p := range m.parents {
			if owner, ok := winner(effects, own, p.field); ok {
				floor = latest(floor, lastDeletion(all[Ref{p.kind, unquote(owner.value)}]))
			}
		}
		r := expectedRow(m, effects, own, floor)
		if !r.exists && opts.MarkDeleted && m == ms.organizations {
			if r = expectedRow(m, effects, clock{}, clock{}); r.exists {
				r.values[m.index["status"]] = []byte(`"deleted"`)
				r.updated = max(r.updated, own.micros)
			}
		}
		if r.exists && m == ms.organizations {
			seenFrom := own
			if string(r.values[m.index["status"]]) == `"deleted"` {
				seenFrom = clock{}
			}
			r.values[m.index["plan"]] = expectedPlan(ms.rules, effects, seenFrom)
		}
		lines[ref] = r.line(m)
	}
	return lines
}

// expectedPlan asks the places in their order.
func expectedPlan(r rules, effects []*effect, floor clock) []byte {
	subscriptions := map[string]bool{}
	for _, e := range effects {
		for _, r := range e.set {
			if strings.HasPrefix(r.field, "subscription.") {
				subscriptions[r.field] = true
			}
		}
	}
	places := r.planFrom
	if places == nil {
		places = []string{"data.plan", "data.settings.plan", "subscription"}
	}
	for _, place := range places {
		var won register
		switch place {
		case "data.plan":
			won, _ = winner(effects, floor, "plan")
		case "data.settings.plan":
			won, _ = winner(effects, floor, "plan_settings")
		default:
			for _, name := range slices.Sorted(maps.Keys(subscriptions)) {
				if w, ok := winner(effects, floor, name); ok && string(w.value) != "null" && w.at.after(won.at) {
					won = w
				}
			}
		}
		if won.value != nil && string(won.value) != "null" {
			return won.value
		}
	}
	return []byte(`"free"`)
}

func lastDeletion(effects []*effect) clock {
	var last clock
	for _, e := range effects {
		if e.deletes {
			last = latest(last, e.at)
		}
	}
	return last
}

// winner returns the assignment to field that counts, of those after floor.
func winner(effects []*effect, floor clock, field string) (register, bool) {
	var won register
	found := false
	for _, e := range effects {
		if e.deletes || !e.at.after(floor) {
			continue
		}
		for _, r := range e.set {
			if r.field == field && (!found || won.less(&r)) {
				won, found = r, true
			}
		}
	}
	return won, found
}

func expectedRow(m *model, effects []*effect, own, floor clock) row {
	var seen []clock
	var first, alive clock
	fields := map[string]bool{}
	for _, e := range effects {
		if e.deletes {
			continue
		}
		if e.alive && (first.isZero() || first.after(e.at)) {
			first = e.at
		}
		if e.alive && e.at.after(floor) {
			alive = latest(alive, e.at)
		}
		for _, r := range e.set {
			fields[r.field] = true
		}
	}
	if heard, ok := winner(effects, own, heardField); alive.isZero() && ok && floor.isZero() {
		alive = heard.at
	}
	if alive.isZero() {
		return row{}
	}
	seen = append(seen, alive)
	r := row{exists: true, values: make([][]byte, len(m.columns))}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		w, ok := winner(effects, own, field)
		if !ok {
			continue
		}
		if !w.at.after(floor) {
			if m.parentKind(field) != "" && !isNull(w.value) {
				r.values[m.index[field]] = w.value
			}
			continue
		}
		of, isKey := whole(field)
		if isKey {
			if object, ok := winner(effects, own, of); ok && object.at.after(w.at) {
				continue // not sent with the object as a whole
			}
		}
		seen = append(seen, w.at)
		if field == createdAt {
			_, _ = fmt.Sscan(string(w.value), &r.created)
			continue
		}
		if _, ok := m.index[field]; !ok && !isKey || strings.HasPrefix(field, "subscription.") {
			continue // for the plan alone
		}
		if end := lastLeaving(effects, field, w); end.after(w.at) {
			seen = append(seen, end)
			if m.columns[m.index[field]].form == list {
				r.values[m.index[field]] = []byte("[]")
			}
			continue
		}
		if isKey {
			r.keys = append(r.keys, w)
			if col, ok := m.shown[field]; ok && !isNull(w.value) {
				r.values[col] = w.value
			}
			continue
		}
		if !isNull(w.value) {
			r.values[m.index[field]] = w.value
		}
	}
	if len(r.keys) > 0 {
		var parts []string
		for _, k := range r.keys {
			_, key, _ := strings.Cut(k.field, ".")
			parts = append(parts, string(appendString(nil, key))+":"+string(k.value))
		}
		r.values[m.keyed] = []byte("{" + strings.Join(parts, ",") + "}")
	}
	for i, c := range m.columns {
		if r.values[i] == nil && c.otherwise != "" {
			r.values[i] = []byte(c.otherwise)
		}
	}
	r.updated = slices.MaxFunc(seen, clock.compare).micros
	if r.created == 0 {
		r.created = slices.MinFunc(seen, clock.compare).micros
		if first.after(floor) {
			r.created = first.micros
		}
	}
	return r
}

// lastLeaving returns when the tenant that an assignment was about was last
// left.
func lastLeaving(effects []*effect, field string, w register) clock {
	var last clock
	for _, e := range effects {
		if e.tenant == w.scope && slices.Contains(e.leaves, field) {
			last = latest(last, e.at)
		}
	}
	return last
}

func (r *row) line(m *model) string {
	if !r.exists {
		return "no row"
	}
	var b bytes.Buffer
	for i, c := range m.columns {
		if r.values[i] != nil {
			fmt.Fprintf(&b, "%s=%s ", c.name, r.values[i])
		}
	}
	fmt.Fprintf(&b, "created=%d updated=%d", r.created, r.updated)
	return b.String()
}
