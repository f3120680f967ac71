package schema

import (
	"strconv"
	"strings"
)

// Kind says what sort of mistake a [Problem] is.
type Kind string

const (
	UnknownKey Kind = "unknown_key" // no such field
	Missing    Kind = "missing"     // a required key is absent or empty
	WrongType  Kind = "wrong_type"  // the value is of another kind
	OutOfRange Kind = "range"       // below min, above max, or too big for the Go type
	NotAllowed Kind = "not_allowed" // not in enum, does not match pattern, or does not parse
	BadSchema  Kind = "bad_schema"  // the Go type is mistaken, not the document
)

// Problem is one mistake in a document, told to the person who wrote it.
type Problem struct {
	Path    Path   // where; of a missing key: the key that should be there
	Kind    Kind   // what sort of mistake
	Summary string // what is wrong: `unknown key`, `wrong type: needs a whole number, found text`
	Detail  string // the way out, may be empty: `did you mean "host"?`
}

// String is the problem in one line: path, summary and detail.
func (p Problem) String() string {
	var b strings.Builder
	if len(p.Path) > 0 {
		b.WriteString(p.Path.String())
		b.WriteString(": ")
	}
	b.WriteString(p.Summary)
	if p.Detail != "" {
		b.WriteString("; ")
		b.WriteString(p.Detail)
	}
	return b.String()
}

// Path leads from the root of a document to a value: a string is a key, an int
// the index in a list. The empty path is the root.
type Path []any

// String writes the path as "plans.pro.price" or "urls[2]". Keys that are no
// plain words are quoted, and cut when they are very long: `labels["a.b"]`.
func (p Path) String() string {
	var b strings.Builder
	for _, step := range p {
		switch step := step.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(step) + "]")
		case string:
			if !plainKey(step) {
				b.WriteString("[" + quoteKey(step) + "]")
				continue
			}
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(step)
		}
	}
	return b.String()
}

// MarshalText makes a Path text in JSON.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Child is the path one step further. It never shares memory with its siblings.
func (p Path) Child(step any) Path {
	child := make(Path, len(p)+1)
	copy(child, p)
	child[len(p)] = step
	return child
}

func plainKey(s string) bool {
	if s == "" || len(s) > maxKeyShown {
		return false
	}
	for _, c := range []byte(s) {
		word := c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !word {
			return false
		}
	}
	return true
}

// maxKeyShown bounds how much of a key a message repeats, in bytes: keys come
// from the document, which may be hostile.
const maxKeyShown = 80

func quoteKey(s string) string {
	if len(s) > maxKeyShown {
		return strconv.Quote(s[:maxKeyShown]) + "…"
	}
	return strconv.Quote(s)
}
