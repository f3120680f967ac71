package event

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// maxDepth bounds the nesting of objects and arrays. The scanner recurses once
// per level, and so does everything that reads the data later; real events are
// five levels deep.
const maxDepth = 100

var (
	errSyntax = errors.New("not valid JSON")
	errDepth  = errors.New("nested too deeply")
)

// scanner walks over JSON text in one pass and hands out pieces of it without
// copying. encoding/json is not used for reading because it matches member
// names case-insensitively, lets the last of two duplicates win, and needs
// several passes to find the exact bytes of one member.
//
// The text must be valid UTF-8; the scanner checks everything else.
type scanner struct {
	b   []byte
	pos int
}

// text is a JSON string without its quotes, as it stands in the input.
type text struct {
	raw     []byte
	escaped bool // raw holds at least one escape sequence
}

// peek returns the byte at the scanner's position, 0 at the end of the input.
func (s *scanner) peek() byte {
	if s.pos < len(s.b) {
		return s.b[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.b) {
		switch s.b[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// end tells whether nothing but white space is left.
func (s *scanner) end() bool {
	s.space()
	return s.pos == len(s.b)
}

// enter steps into the object that starts here.
func (s *scanner) enter() error {
	if s.peek() != '{' {
		return errSyntax
	}
	s.pos++
	return nil
}

// member reads the name of the next member and stands on its value, which the
// caller must consume before the next call. It returns false behind the
// object's closing brace.
func (s *scanner) member(first bool) (name text, more bool, err error) {
	s.space()
	if s.peek() == '}' {
		s.pos++
		return text{}, false, nil
	}
	if !first {
		if s.peek() != ',' {
			return text{}, false, errSyntax
		}
		s.pos++
		s.space()
	}
	if name, err = s.text(); err != nil {
		return text{}, false, err
	}
	s.space()
	if s.peek() != ':' {
		return text{}, false, errSyntax
	}
	s.pos++
	s.space()
	return name, true, nil
}

// element stands on the next element of an array whose opening bracket is
// consumed. It returns false behind the closing one.
func (s *scanner) element(first bool) (more bool, err error) {
	s.space()
	if s.peek() == ']' {
		s.pos++
		return false, nil
	}
	if !first {
		if s.peek() != ',' {
			return false, errSyntax
		}
		s.pos++
		s.space()
	}
	return true, nil
}

// skip consumes one value. Objects and arrays that start here are at the given
// depth, from 1.
func (s *scanner) skip(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		_, err := s.text()
		return err
	case c == '{':
		return s.skipObject(depth)
	case c == '[':
		return s.skipArray(depth)
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return errSyntax
}

func (s *scanner) skipObject(depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	s.pos++
	for first := true; ; first = false {
		_, more, err := s.member(first)
		if err != nil || !more {
			return err
		}
		if err := s.skip(depth + 1); err != nil {
			return err
		}
	}
}

func (s *scanner) skipArray(depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	s.pos++
	for first := true; ; first = false {
		more, err := s.element(first)
		if err != nil || !more {
			return err
		}
		if err := s.skip(depth + 1); err != nil {
			return err
		}
	}
}

func (s *scanner) word(w string) error {
	if !bytes.HasPrefix(s.b[s.pos:], []byte(w)) {
		return errSyntax
	}
	s.pos += len(w)
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos > start
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return errSyntax
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return errSyntax
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return errSyntax
		}
	}
	return nil
}

// text consumes a string.
func (s *scanner) text() (text, error) {
	if s.peek() != '"' {
		return text{}, errSyntax
	}
	s.pos++
	start := s.pos
	escaped := false
	for s.pos < len(s.b) {
		switch c := s.b[s.pos]; {
		case c == '"':
			s.pos++
			return text{s.b[start : s.pos-1], escaped}, nil
		case c == '\\':
			escaped = true
			if !s.escape() {
				return text{}, errSyntax
			}
		case c < ' ':
			return text{}, errSyntax
		default:
			s.pos++
		}
	}
	return text{}, errSyntax
}

// escape consumes one escape sequence, which starts at the backslash.
func (s *scanner) escape() bool {
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return true
	case 'u':
		if _, ok := hex4(s.b[s.pos+1:]); !ok {
			return false
		}
		s.pos += 5
		return true
	}
	return false
}

// hex4 reads the four hexadecimal digits that b starts with.
func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// bytes returns the string that the literal stands for. Without escapes that is
// the input itself, uncopied. It returns false when half of a surrogate pair
// stands alone: such a string has no UTF-8 form, and to replace the half, as
// encoding/json does, would make two different ids equal.
func (t text) bytes() ([]byte, bool) {
	if !t.escaped {
		return t.raw, true
	}
	out := make([]byte, 0, len(t.raw))
	for i := 0; i < len(t.raw); {
		c := t.raw[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		c = t.raw[i+1]
		i += 2
		if c != 'u' {
			out = append(out, unescaped(c))
			continue
		}
		r, _ := hex4(t.raw[i:])
		i += 4
		if 0xD800 <= r && r <= 0xDFFF {
			low, ok := rune(0), false
			if r < 0xDC00 && bytes.HasPrefix(t.raw[i:], []byte(`\u`)) {
				low, ok = hex4(t.raw[i+2:])
			}
			if !ok || low < 0xDC00 || low > 0xDFFF {
				return nil, false
			}
			i += 6
			r = 0x10000 + (r-0xD800)<<10 + (low - 0xDC00)
		}
		out = utf8.AppendRune(out, r)
	}
	return out, true
}

// unescaped returns the byte that a backslash and c stand for.
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // quote, backslash, slash
}

// nameSet finds member names that occur twice. Real objects have few members,
// which a linear search serves without allocating; a hostile one may have many.
type nameSet struct {
	few  [24][]byte
	n    int
	many map[string]struct{}
}

// add returns false when the set holds the name already.
func (s *nameSet) add(name []byte) bool {
	for _, other := range s.few[:s.n] {
		if bytes.Equal(name, other) {
			return false
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = name
		s.n++
		return true
	}
	if _, ok := s.many[string(name)]; ok {
		return false
	}
	if s.many == nil {
		s.many = make(map[string]struct{})
	}
	s.many[string(name)] = struct{}{}
	return true
}
