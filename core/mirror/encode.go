package mirror

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The encoding of a state, the content of the columns sync_state: one JSON
// object without white space whose members always come in this order.
//
//	{"v":1,
//	 "clocks":[[1772409600000000,"evt_1"]],      distinct, ascending
//	 "deleted":-1,"alive":0,"first":0,           indexes into clocks; -1: never
//	 "fields":{"email":[0,"a@example.com"],      clock, value
//	           "tenant_id":[0,"tnt_1","tnt_1"]}, clock, value, scope
//	 "left":[["groups","tnt_2",0]]}              field, scope, clock
//
// Equal states have equal encodings.
const (
	encodingVersion = "1"
	encodingHead    = `{"v":` + encodingVersion + `,"clocks":[`
)

// errUnreadable says that a sync_state is none of this encoding: a newer avhub
// wrote it, or somebody else did.
var errUnreadable = errors.New("its sync_state is not readable: it was changed by hand or written by a newer avhub; " +
	"run that version, or restore the row")

func (s *state) encode() []byte {
	clocks := make([]clock, 0, len(s.registers)+len(s.clears)+3)
	add := func(c clock) {
		// Neighbours mostly share a clock; sorting fewer is worth the look.
		if !c.isZero() && (len(clocks) == 0 || clocks[len(clocks)-1] != c) {
			clocks = append(clocks, c)
		}
	}
	add(s.deleted)
	add(s.alive)
	add(s.first)
	size := 128
	for i := range s.registers {
		r := &s.registers[i]
		add(r.at)
		size += len(r.field) + len(r.value) + len(r.scope) + 16
	}
	for i := range s.clears {
		add(s.clears[i].at)
		size += len(s.clears[i].field) + len(s.clears[i].scope) + 16
	}
	slices.SortFunc(clocks, clock.compare)
	clocks = slices.Compact(clocks)
	for _, c := range clocks {
		size += len(c.id) + 24
	}

	b := make([]byte, 0, size)
	index := func(c clock) {
		if c.isZero() {
			b = append(b, "-1"...)
			return
		}
		i, _ := slices.BinarySearchFunc(clocks, c, clock.compare)
		b = strconv.AppendInt(b, int64(i), 10)
	}
	b = append(b, encodingHead...)
	for i, c := range clocks {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		b = strconv.AppendInt(b, c.micros, 10)
		b = append(b, ',')
		b = appendString(b, c.id)
		b = append(b, ']')
	}
	b = append(b, `],"deleted":`...)
	index(s.deleted)
	b = append(b, `,"alive":`...)
	index(s.alive)
	b = append(b, `,"first":`...)
	index(s.first)
	b = append(b, `,"fields":{`...)
	for i := range s.registers {
		r := &s.registers[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, r.field)
		b = append(b, ":["...)
		index(r.at)
		b = append(b, ',')
		b = append(b, r.value...)
		if r.scope != "" {
			b = append(b, ',')
			b = appendString(b, r.scope)
		}
		b = append(b, ']')
	}
	b = append(b, `},"left":[`...)
	for i := range s.clears {
		c := &s.clears[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		b = appendString(b, c.field)
		b = append(b, ',')
		b = appendString(b, c.scope)
		b = append(b, ',')
		index(c.at)
		b = append(b, ']')
	}
	return append(b, "]}"...)
}

// decodeState reads an encoding and keeps parts of b. It returns errUnreadable
// for anything else. No bytes at all are the empty state: a row without
// sync_state is not the hub's, and the first event takes it over.
func decodeState(m *model, b []byte) (state, error) {
	if len(b) == 0 {
		return state{}, nil
	}
	if !plain(b) {
		return state{}, errUnreadable
	}
	r := reader{b: b}
	var s state
	clocks := r.clocks()
	at := func() clock { return r.clock(clocks) }
	r.expect(`,"deleted":`)
	s.deleted = at()
	r.expect(`,"alive":`)
	s.alive = at()
	r.expect(`,"first":`)
	s.first = at()
	r.expect(`,"fields":{`)
	s.registers = make([]register, 0, 24)
	for more := !r.try("}"); more && !r.failed; more = !r.try("}") {
		if len(s.registers) > 0 {
			r.expect(",")
		}
		s.registers = append(s.registers, r.register(m, at))
	}
	r.expect(`,"left":[`)
	for more := !r.try("]"); more && !r.failed; more = !r.try("]") {
		if len(s.clears) > 0 {
			r.expect(",")
		}
		r.expect("[")
		c := clearing{field: r.string()}
		r.expect(",")
		c.scope = r.string()
		r.expect(",")
		c.at = at()
		r.expect("]")
		s.clears = append(s.clears, c)
	}
	r.expect("}")
	for i := 1; i < len(s.registers); i++ {
		if s.registers[i-1].field >= s.registers[i].field {
			r.failed = true // merging relies on the order
		}
	}
	if r.failed || r.pos != len(b) {
		return state{}, errUnreadable
	}
	return s, nil
}

// decodeTombstone reads no more of an encoding than when its entity was deleted,
// which is all that its children need. It is as strict as decodeState about what
// it reads.
func decodeTombstone(b []byte) (clock, error) {
	if len(b) == 0 {
		return clock{}, nil
	}
	r := reader{b: b}
	clocks := r.clocks()
	r.expect(`,"deleted":`)
	deleted := r.clock(clocks)
	r.expect(`,"alive":`)
	if r.failed {
		return clock{}, errUnreadable
	}
	return deleted, nil
}

// clocks reads how an encoding begins.
func (r *reader) clocks() []clock {
	var clocks []clock
	r.expect(encodingHead)
	for more := !r.try("]"); more && !r.failed; more = !r.try("]") {
		if len(clocks) > 0 {
			r.expect(",")
		}
		r.expect("[")
		c := clock{micros: r.int()}
		r.expect(",")
		c.id = r.string()
		r.expect("]")
		clocks = append(clocks, c)
	}
	return clocks
}

// clock reads an index into clocks.
func (r *reader) clock(clocks []clock) clock {
	switch i := r.int(); {
	case r.failed || i >= int64(len(clocks)) || i < -1:
		r.failed = true
	case i >= 0:
		return clocks[i]
	}
	return clock{}
}

// plain tells whether b is text that an encoding can be: UTF-8 without control
// characters, which are escaped in it. What is not would change when it is read
// and written again.
func plain(b []byte) bool {
	for _, c := range b {
		if c < ' ' {
			return false
		}
	}
	return utf8.Valid(b)
}

func (r *reader) register(m *model, at func() clock) register {
	var reg register
	if name := r.text(); !r.failed {
		reg.field = m.name(name[1 : len(name)-1])
		if strings.IndexByte(reg.field, '\\') >= 0 {
			reg.field = unquote(name)
		}
	}
	r.expect(":[")
	reg.at = at()
	r.expect(",")
	reg.value = r.value()
	if r.try(",") {
		reg.scope = r.string()
	}
	r.expect("]")
	return reg
}
