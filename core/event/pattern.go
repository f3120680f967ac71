package event

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A pattern selects event types: "*" all, "tenant.*" everything below tenant
// (tenant.created and tenant.app.granted, but not tenant itself), any other
// text the type of exactly that name. A type that the catalog does not know may
// be named.

// ValidatePattern tells what is wrong with a pattern.
func ValidatePattern(pattern string) error {
	if pattern == "*" {
		return nil
	}
	wrong := func(why string) error {
		return fmt.Errorf(`reading event pattern %q: %s; write "*", "tenant.*" or a type such as "tenant.created"`, pattern, why)
	}
	switch {
	case pattern == "":
		return errors.New(`reading event pattern: it is empty; write "*" to select every event`)
	case len(pattern) > maxString:
		return fmt.Errorf("reading event pattern: longer than %d bytes, which no type is", maxString)
	case !utf8.ValidString(pattern):
		return wrong("not UTF-8")
	case strings.ContainsFunc(pattern, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
		return wrong("white space or a control character in it")
	}
	name := strings.TrimSuffix(pattern, ".*")
	if strings.Contains(name, "*") {
		return wrong("a star stands alone or behind the last dot")
	}
	for segment := range strings.SplitSeq(name, ".") {
		if segment == "" {
			return wrong("nothing between two dots or at an end")
		}
	}
	return nil
}

// Match tells whether one of the patterns selects the type. Invalid patterns
// select nothing. To match many types, make a Matcher.
func Match(patterns []string, typ string) bool {
	for _, p := range patterns {
		prefix, open := strings.CutSuffix(p, "*")
		if p == "*" || (p == typ && !open || open && below(prefix, typ)) && ValidatePattern(p) == nil {
			return true
		}
	}
	return false
}

// below tells whether the type stands below the prefix, which ends in a dot.
func below(prefix, typ string) bool {
	return len(typ) > len(prefix) && strings.HasPrefix(typ, prefix)
}

// Matcher is a set of patterns, checked once and quick to ask. The zero value
// selects nothing. It is immutable and safe for concurrent use.
type Matcher struct {
	all      bool
	exact    map[string]struct{}
	prefixes []string // with their dots
}

// NewMatcher makes a Matcher of valid patterns. No patterns select nothing.
func NewMatcher(patterns []string) (Matcher, error) {
	m := Matcher{exact: make(map[string]struct{}, len(patterns))}
	for _, p := range patterns {
		if err := ValidatePattern(p); err != nil {
			return Matcher{}, err
		}
		switch prefix, open := strings.CutSuffix(p, "*"); {
		case p == "*":
			m.all = true
		case open:
			m.prefixes = append(m.prefixes, prefix)
		default:
			m.exact[p] = struct{}{}
		}
	}
	return m, nil
}

// Match tells whether one of the patterns selects the type.
func (m Matcher) Match(typ string) bool {
	if m.all {
		return true
	}
	if _, ok := m.exact[typ]; ok {
		return true
	}
	for _, prefix := range m.prefixes {
		if below(prefix, typ) {
			return true
		}
	}
	return false
}
