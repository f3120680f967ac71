package event

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// read puts a raw JSON value into the field.
func (o *Opt[T]) read(raw []byte) *DataError {
	o.Set = true
	into := any(&o.Value)
	if raw[0] == 'n' {
		if l, ok := into.(*[]string); ok {
			*l = []string{}
			return nil
		}
		o.Null = true
		return nil
	}
	return readValue(into, raw)
}

// key is an optional string that the mirror keeps as an id or looks rows up by,
// so it is bounded like the envelope's ids.
type key Opt[string]

func (k *key) read(raw []byte) *DataError {
	o := (*Opt[string])(k)
	if err := o.read(raw); err != nil {
		return err
	}
	if problem := keyProblem(o.Value); problem != "" {
		return &DataError{Want: "at most 512 bytes without control characters", Got: problem}
	}
	return nil
}

// list is a list of strings for which absent, null and empty are one.
type list []string

func (l *list) read(raw []byte) *DataError {
	if raw[0] == 'n' {
		*l = list{}
		return nil
	}
	return readValue((*[]string)(l), raw)
}

// object is a free-form object for which absent and null are one.
type object map[string]json.RawMessage

func (o *object) read(raw []byte) *DataError {
	if raw[0] == 'n' {
		return nil
	}
	return readValue((*map[string]json.RawMessage)(o), raw)
}

// readValue puts a raw value other than null into one of the types that fields
// have. The value is one that the scanner has accepted.
func readValue(into any, raw []byte) *DataError {
	wrong := func(want string) *DataError { return &DataError{Want: want, Got: kindOf(raw)} }
	switch v := into.(type) {
	case *string:
		if raw[0] != '"' {
			return wrong("a string")
		}
		s, err := readString(raw)
		*v = s
		return err
	case *bool:
		if raw[0] != 't' && raw[0] != 'f' {
			return wrong("a boolean")
		}
		*v = raw[0] == 't'
	case *int64:
		if kindOf(raw) != "a number" {
			return wrong("an integer")
		}
		n, ok := parseInt(raw)
		if !ok {
			return &DataError{Want: "a 64-bit integer", Got: "another number"}
		}
		*v = n
	case *time.Time:
		if raw[0] != '"' {
			return wrong("an RFC 3339 time")
		}
		b, _ := literal(raw).bytes()
		t, ok := parseTime(b)
		if !ok {
			return &DataError{Want: "an RFC 3339 time with a zone", Got: "another string"}
		}
		*v = t
	case *[]string:
		return readList(v, raw)
	case *json.RawMessage:
		if err := storable(raw); err != nil {
			return err
		}
		*v = raw
	case *map[string]json.RawMessage:
		return readObject(v, raw)
	case record:
		if raw[0] != '{' {
			return wrong("an object")
		}
		if err := readRecord(v, raw); err != nil {
			return err.(*DataError) // all that readRecord returns
		}
	default:
		panic("event: a field has a type that readValue does not know") // only a new field can cause it; the tests read every field
	}
	return nil
}

func readString(raw []byte) (string, *DataError) {
	t := literal(raw)
	b, ok := t.bytes()
	if !ok {
		return "", &DataError{Want: "a string that has a UTF-8 form", Got: "half of a surrogate pair"}
	}
	if t.escaped && bytes.IndexByte(b, 0) >= 0 { // unescaped, it would be no JSON
		return "", &DataError{Want: "a string without U+0000", Got: "one with it"}
	}
	return string(b), nil
}

func readList(into *[]string, raw []byte) *DataError {
	wrong := func(got string) *DataError { return &DataError{Want: "an array of strings", Got: got} }
	if raw[0] != '[' {
		return wrong(kindOf(raw))
	}
	l := []string{}
	s := scanner{b: raw, pos: 1}
	for first := true; ; first = false {
		more, err := s.element(first)
		if err != nil {
			return wrong("broken JSON")
		}
		if !more {
			*into = l
			return nil
		}
		start := s.pos
		if s.peek() != '"' {
			return wrong("an array with " + kindOf(raw[start:]) + " in it")
		}
		if _, err := s.text(); err != nil {
			return wrong("broken JSON")
		}
		str, problem := readString(raw[start:s.pos])
		if problem != nil {
			return problem
		}
		l = append(l, str)
	}
}

// readObject splits a free-form object. Its member names are the sender's
// free choice, so no error mentions them.
func readObject(into *map[string]json.RawMessage, raw []byte) *DataError {
	wrong := func(got string) *DataError { return &DataError{Want: "an object", Got: got} }
	if raw[0] != '{' {
		return wrong(kindOf(raw))
	}
	if err := storable(raw); err != nil {
		return err
	}
	m := map[string]json.RawMessage{}
	s := scanner{b: raw, pos: 1}
	for first := true; ; first = false {
		literal, more, err := s.member(first)
		if err != nil {
			return wrong("broken JSON")
		}
		if !more {
			*into = m
			return nil
		}
		start := s.pos
		if err := s.skip(1); err != nil {
			return wrong("broken JSON")
		}
		name, _ := literal.bytes() // storable has checked it
		if _, twice := m[string(name)]; twice {
			return &DataError{Want: "each member once", Got: "a member twice"}
		}
		m[string(name)] = raw[start:s.pos:s.pos]
	}
}

// storable checks raw JSON that is kept as it is for what the JSON columns of
// Postgres refuse (section 8.14 of its manual): U+0000 and half surrogate pairs
// in strings, and numbers that its type numeric cannot hold. Its limits are
// 131,072 digits before and 16,383 behind the decimal point; 4,096 bytes and a
// four-digit exponent stay below both.
func storable(raw []byte) *DataError {
	s := scanner{b: raw}
	for s.pos < len(raw) {
		switch c := raw[s.pos]; {
		case c == '"':
			start := s.pos
			t, err := s.text()
			if err != nil {
				return &DataError{Want: "JSON", Got: "broken JSON"}
			}
			if !t.escaped {
				continue
			}
			if _, problem := readString(raw[start:s.pos]); problem != nil {
				return problem
			}
		case c == '-' || '0' <= c && c <= '9':
			start := s.pos
			if s.number() != nil || !storableNumber(raw[start:s.pos]) {
				return &DataError{Want: "numbers of at most 4096 bytes with exponents up to 9999", Got: "another number"}
			}
		default:
			s.pos++
		}
	}
	return nil
}

func storableNumber(raw []byte) bool {
	if len(raw) > 4096 {
		return false
	}
	i := bytes.IndexAny(raw, "eE")
	return i < 0 || len(bytes.TrimLeft(raw[i+1:], "+-0")) <= 4
}

// parseInt returns the integer that a JSON number stands for, however it is
// written (30, 30.0, 3e1); false if it is none or does not fit 64 bits.
func parseInt(raw []byte) (int64, bool) {
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, true
	}
	mantissa, exponent := raw, 0
	if i := bytes.IndexAny(raw, "eE"); i >= 0 {
		mantissa = raw[:i]
		e := raw[i+1:]
		var err error
		if exponent, err = strconv.Atoi(string(e)); err != nil {
			// Beyond an int: the number is out of range or a fraction unless
			// all of its digits are zero.
			exponent = 1 << 30
		}
	}
	sign := ""
	if mantissa[0] == '-' {
		sign, mantissa = "-", mantissa[1:]
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	digits := append(bytes.Clone(whole), fraction...)
	trimmed := bytes.TrimRight(digits, "0")
	if len(bytes.TrimLeft(trimmed, "0")) == 0 {
		return 0, true
	}
	zeros := exponent - len(fraction) + len(digits) - len(trimmed)
	trimmed = bytes.TrimLeft(trimmed, "0")
	if zeros < 0 || zeros > 19 || len(trimmed)+zeros > 19 {
		return 0, false
	}
	trimmed = append(trimmed, bytes.Repeat([]byte("0"), zeros)...)
	n, err := strconv.ParseInt(sign+string(trimmed), 10, 64)
	return n, err == nil
}
