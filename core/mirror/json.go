package mirror

import (
	"bytes"
	"encoding/json"
)

// Values are compared and stored as JSON in one canonical writing: no white
// space, members of objects sorted, strings escaped only where JSON demands it.

var null = []byte("null") // never written to

func isNull(value []byte) bool { return len(value) == 4 && value[0] == 'n' }

// appendString appends s as a JSON string. s is valid UTF-8.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		if c < ' ' {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			b = append(b, '\\', c)
		}
		start = i + 1
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// unquote returns the string that a JSON string stands for, empty for any other
// value.
func unquote(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	_ = json.Unmarshal(value, &s) // the value was accepted as JSON before
	return s
}

// canonical returns the canonical writing of a value that is known to be JSON.
// Numbers stay as they were sent: what they mean beyond 64 bits is the reader's
// affair.
func canonical(raw []byte) []byte {
	switch raw[0] {
	case '{', '[', '"':
	default:
		return bytes.Clone(raw)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return bytes.Clone(null) // not reached: the event's decoder has read it
	}
	if s, ok := v.(string); ok {
		return appendString(nil, s)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return bytes.Clone(null) // not reached, as above
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// appendList appends an array of strings.
func appendList(b []byte, l []string) []byte {
	b = append(b, '[')
	for i, s := range l {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// reader reads the JSON of a sync_state, whose form is known to the byte. After
// the first surprise everything fails.
type reader struct {
	b      []byte
	pos    int
	failed bool
}

// try consumes s if it comes next.
func (r *reader) try(s string) bool {
	if r.failed || len(r.b)-r.pos < len(s) || string(r.b[r.pos:r.pos+len(s)]) != s {
		return false
	}
	r.pos += len(s)
	return true
}

// expect consumes s, or fails.
func (r *reader) expect(s string) {
	if !r.try(s) {
		r.failed = true
	}
}

func (r *reader) int() int64 {
	negative := r.try("-")
	start := r.pos
	var n int64
	for !r.failed && r.pos < len(r.b) && '0' <= r.b[r.pos] && r.b[r.pos] <= '9' {
		n = n*10 + int64(r.b[r.pos]-'0')
		r.pos++
	}
	if r.pos == start || r.pos-start > 18 {
		r.failed = true
	}
	if negative {
		return -n
	}
	return n
}

// text consumes a string and returns it with its quotes.
func (r *reader) text() []byte {
	start := r.pos
	r.expect(`"`)
	for !r.failed && r.pos < len(r.b) {
		switch r.b[r.pos] {
		case '"':
			r.pos++
			return r.b[start:r.pos:r.pos]
		case '\\':
			r.pos++
		}
		r.pos++
	}
	r.failed = true
	return nil
}

func (r *reader) string() string {
	t := r.text()
	if r.failed {
		return ""
	}
	return unquote(t)
}

// value consumes any value.
func (r *reader) value() []byte {
	start, depth := r.pos, 0
	for !r.failed && r.pos < len(r.b) {
		switch c := r.b[r.pos]; c {
		case '"':
			r.text()
		case '{', '[':
			depth++
			r.pos++
		case '}', ']', ',':
			if depth == 0 {
				return r.token(start)
			}
			if c != ',' {
				depth--
			}
			r.pos++
			if depth == 0 && c != ',' {
				return r.token(start)
			}
		default:
			r.pos++
		}
	}
	r.failed = true
	return nil
}

func (r *reader) token(start int) []byte {
	if r.failed || r.pos == start {
		r.failed = true
		return nil
	}
	return r.b[start:r.pos:r.pos]
}
