package mirror

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// row is what a state shows: the content of a row, or that there is none.
type row struct {
	exists bool
	values [][]byte // JSON by column; nil: NULL
	keys   []register
	// created and updated are created_at and updated_at, in Unix microseconds.
	created, updated int64
}

func (r *row) equal(other *row) bool {
	return r.exists == other.exists && r.created == other.created && r.updated == other.updated &&
		slices.EqualFunc(r.values, other.values, bytes.Equal)
}

// project returns the row of a state, given when one of the entities that this
// one belongs to was last deleted. It is a pure function.
//
// A deletion hides what was said at or before it. The entity's own is dropped
// from the state for good; what a parent's hides stays in the state, as the
// entity may still turn out to belong to another one.
//
// Where deleted entities keep their rows, these show what was last said, in
// whichever life.
func (m *model) project(s *state, parentDeleted clock) row {
	floor := latest(s.deleted, parentDeleted)
	from, marked := s.alive, false
	if !s.alive.after(floor) {
		heard := s.find(heardField)
		switch {
		case floor.isZero() && heard != nil:
			from = heard.at
		case m.marks && !s.alive.isZero():
			marked, floor = true, clock{}
		default:
			return row{}
		}
	}
	r := row{exists: true, values: make([][]byte, len(m.columns))}
	oldest, newest := from, from
	see := func(c clock) {
		if oldest.after(c) {
			oldest = c
		}
		if c.after(newest) {
			newest = c
		}
	}
	for i := range s.registers {
		reg := &s.registers[i]
		if visible := reg.at.after(floor); visible {
			see(reg.at)
		} else if m.parentKind(reg.field) == "" {
			continue
		}
		if reg.field == createdAt {
			r.created, _ = strconv.ParseInt(string(reg.value), 10, 64)
			continue
		}
		if len(s.clears) > 0 && s.cleared(reg) {
			continue
		}
		if col, ok := m.index[reg.field]; ok {
			if !isNull(reg.value) {
				r.values[col] = reg.value
			}
			continue
		}
		if m.keyPrefix == "" || !strings.HasPrefix(reg.field, m.keyPrefix) {
			continue // a newer avhub's, kept for it
		}
		r.keys = append(r.keys, *reg) // ascending, as registers are
		if col, ok := m.shown[reg.field]; ok && !isNull(reg.value) {
			r.values[col] = reg.value
		}
	}
	for i := range s.clears {
		c := &s.clears[i]
		if reg := s.find(c.field); reg == nil || reg.scope != c.scope || !reg.at.after(floor) {
			continue // nothing that it ended
		}
		see(c.at)
		if col, ok := m.index[c.field]; ok && m.columns[col].form == list {
			r.values[col] = []byte("[]")
		}
	}
	if len(r.keys) > 0 {
		r.values[m.keyed] = joinKeys(r.keys, len(m.keyPrefix))
	}
	if m.plans != nil {
		r.values[m.index[planField]] = m.plans.pick(s, floor)
	}
	if marked {
		r.values[m.index["status"]] = []byte(statusDeleted)
		see(s.deleted)
	}
	for i, v := range m.otherwise {
		if r.values[i] == nil {
			r.values[i] = v
		}
	}
	r.updated = newest.shown()
	if r.created == 0 {
		// Nobody told: the first that was heard. Not the oldest visible register
		// alone, since that moves on as registers are overwritten; but it is what
		// is left after a deletion.
		r.created = oldest.shown()
		if s.first.after(floor) {
			r.created = s.first.shown()
		}
		// A fact that was read later than the newest event tells of no creation
		// after it.
		r.created = min(r.created, r.updated)
	}
	return r
}

// joinKeys makes an object of keyed registers, whose names have a prefix of the
// given length.
func joinKeys(keys []register, prefix int) []byte {
	size := 2
	for _, k := range keys {
		size += len(k.field) + len(k.value) + 4
	}
	b := append(make([]byte, 0, size), '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, k.field[prefix:])
		b = append(b, ':')
		b = append(b, k.value...)
	}
	return append(b, '}')
}
