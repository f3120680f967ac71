package mirror

import (
	"bytes"
	"slices"
	"strings"
)

// state is everything that the mirror knows about an entity. It is a function
// of the set of effects that were merged into it: merging is commutative,
// associative and idempotent, so two hubs, or the same hub after any
// redelivery, end with equal states and even with equal encodings. To keep that
// true, information may be forgotten only when no effect that could still come,
// early or late, would make it matter.
type state struct {
	// deleted is the entity's own tombstone, the latest of all deletions. What
	// is at or before it is never looked at again, because a tombstone only
	// grows, so registers at or before it are dropped (but for entities whose row
	// is only marked).
	deleted clock
	// alive is the latest effect that says that the entity exists. A row needs
	// one that no deletion has overtaken.
	alive clock
	// first is the earliest effect that ever said that the entity exists,
	// deleted since or not: by the time that people are told, as a fact is older
	// than any event only for merging.
	first     clock
	registers []register // ascending by field
	clears    []clearing // ascending by field, then scope
}

// register is one field and the assignment that won it.
type register struct {
	field string
	at    clock
	value []byte // canonical JSON; null: known to be nothing
	scope string // the tenant that the assignment was about, for scoped fields
}

// clearing ends the assignments to a field that were about one tenant. Of
// these, only such as are newer than the winning register are kept: a clearing
// acts on a register that is older than itself, and the winner's clock only
// grows, so one that is at or before it will never find a register to act on.
type clearing struct {
	field, scope string
	at           clock
}

func (s *state) find(field string) *register {
	i, ok := slices.BinarySearchFunc(s.registers, field, func(r register, f string) int { return strings.Compare(r.field, f) })
	if !ok {
		return nil
	}
	return &s.registers[i]
}

// clockOf returns the clock of a register, zero if there is none.
func (s *state) clockOf(field string) clock {
	if r := s.find(field); r != nil {
		return r.at
	}
	return clock{}
}

// cleared tells whether the value of a register went with its tenant.
func (s *state) cleared(r *register) bool {
	for i := range s.clears {
		if c := &s.clears[i]; c.scope == r.scope && c.field == r.field && c.at.after(r.at) {
			return true
		}
	}
	return false
}

// parent returns the entity that a parent's field names, empty for none.
func (s *state) parent(field string) string {
	r := s.find(field)
	if r == nil || isNull(r.value) {
		return ""
	}
	return unquote(r.value)
}

// merge takes an effect into the state. changed tells that the state is another
// one now; stands tells that something of what the effect says was not overruled
// by strictly newer effects (so an effect that is merged again still stands).
func (s *state) merge(e *effect) (changed, stands bool) {
	if e.deletes {
		return s.bury(e.at, e.model.marks)
	}
	if e.alive && (s.first.isZero() || s.first.saidAfter(e.at)) {
		s.first, changed = e.at, true
	}
	if !e.at.after(s.deleted) && !e.model.marks {
		return changed, false
	}
	if e.alive {
		switch order := e.at.compare(s.alive); {
		case order > 0:
			s.alive, changed, stands = e.at, true, true
		case order == 0:
			stands = true
		}
	}
	if len(e.set) > 0 {
		c, st := s.assign(e.set, e.keyed)
		changed, stands = changed || c, stands || st
	}
	if len(e.leaves) > 0 {
		c, st := s.leave(e)
		changed, stands = changed || c, stands || st
	}
	return changed, stands
}

// bury merges a deletion. Where deleted entities keep their rows, what was said
// before stays, to be shown.
func (s *state) bury(at clock, keep bool) (changed, stands bool) {
	if !at.after(s.deleted) {
		return false, at == s.deleted
	}
	s.deleted = at
	if keep {
		return true, true
	}
	if !s.alive.after(at) {
		s.alive = clock{}
	}
	s.registers = slices.DeleteFunc(s.registers, func(r register) bool { return !r.at.after(at) })
	s.clears = slices.DeleteFunc(s.clears, func(c clearing) bool { return !c.at.after(at) })
	return true, true
}

// assign merges registers, ascending by field and each field once, all with the
// same clock. keyed tells that there are keys of an object among them, or the
// object as a whole.
func (s *state) assign(set []register, keyed bool) (changed, stands bool) {
	n := len(s.registers) // the new ones go behind, and are sorted in at the end
	i := 0
	for _, r := range set {
		for i < n && s.registers[i].field < r.field {
			i++
		}
		switch {
		case i == n || s.registers[i].field != r.field:
			s.registers = append(s.registers, r)
			changed = true
		case s.registers[i].less(&r):
			s.registers[i] = r
			changed = true
		}
	}
	if len(s.registers) > n {
		slices.SortFunc(s.registers, func(a, b register) int { return strings.Compare(a.field, b.field) })
	}
	if keyed {
		s.prune()
	}
	if len(s.clears) > 0 {
		s.clears = slices.DeleteFunc(s.clears, func(c clearing) bool { return !c.at.after(s.clockOf(c.field)) })
	}
	i = 0
	for _, r := range set {
		for i < len(s.registers) && s.registers[i].field < r.field {
			i++
		}
		if i < len(s.registers) && s.registers[i].field == r.field && s.registers[i].at == r.at && r.field != heardField {
			return changed, true
		}
	}
	return changed, false
}

// less tells whether r loses to other. Two assignments with one clock come only
// from two sources that use the same id at the same microsecond; then the
// greater bytes win, so that the outcome does not depend on the order.
func (r *register) less(other *register) bool {
	if order := r.at.compare(other.at); order != 0 {
		return order < 0
	}
	if order := bytes.Compare(r.value, other.value); order != 0 {
		return order < 0
	}
	return r.scope < other.scope
}

// prune drops the keys that were set before their object was set as a whole.
// The clock of the whole only grows, so they would never be seen again.
func (s *state) prune() {
	var name string
	var at clock
	s.registers = slices.DeleteFunc(s.registers, func(r register) bool {
		of, ok := whole(r.field)
		if !ok {
			return false
		}
		if of != name {
			name, at = of, s.clockOf(of)
		}
		return at.after(r.at)
	})
}

// leave merges the end of a scope.
func (s *state) leave(e *effect) (changed, stands bool) {
	for _, field := range e.leaves {
		if !e.at.after(s.clockOf(field)) {
			continue
		}
		c := clearing{field: field, scope: e.tenant, at: e.at}
		i, ok := slices.BinarySearchFunc(s.clears, c, func(a, b clearing) int {
			if order := strings.Compare(a.field, b.field); order != 0 {
				return order
			}
			return strings.Compare(a.scope, b.scope)
		})
		switch {
		case !ok:
			s.clears = slices.Insert(s.clears, i, c)
			changed, stands = true, true
		case e.at.after(s.clears[i].at):
			s.clears[i].at = e.at
			changed, stands = true, true
		case e.at == s.clears[i].at:
			stands = true
		}
	}
	return changed, stands
}
