package event

import (
	"strings"
	"testing"
)

func TestPatternsSelectTypes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		patterns string // separated by commas
		typ      string
		want     bool
	}{
		{"*", "anything", true},
		{"tenant.*", "tenant.created", true},
		{"tenant.*", "tenant.app.granted", true},
		{"tenant.*", "tenant", false},
		{"tenant.*", "tenant.", false},
		{"tenant.*", "tenants.created", false},
		{"tenant.*", "Tenant.created", false},
		{"tenant.app.*", "tenant.app.granted", true},
		{"tenant.app.*", "tenant.created", false},
		{"tenant.created", "tenant.created", true},
		{"tenant.created", "tenant.created.x", false},
		{"tenant", "tenant.created", false},
		{"license.*,subject.created", "subject.created", true},
		{"license.*,subject.created", "license.changed", true},
		{"license.*,subject.created", "subject.updated", false},
		{"", "tenant.created", false},
	} {
		var patterns []string
		if c.patterns != "" {
			patterns = strings.Split(c.patterns, ",")
		}
		if got := Match(patterns, c.typ); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.patterns, c.typ, got)
		}
		m, err := NewMatcher(patterns)
		if err != nil {
			t.Errorf("NewMatcher(%q): %v", patterns, err)
		} else if got := m.Match(c.typ); got != c.want {
			t.Errorf("Matcher %q.Match(%q) = %v", c.patterns, c.typ, got)
		}
	}
	if (Matcher{}).Match("tenant.created") {
		t.Error("the zero Matcher selects something")
	}
}

func TestWhatIsNoPatternIsRefused(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"", "**", "*.created", "tenant*", "tenant.*.granted", "te*nt", "tenant.", ".tenant", ".*", "a..b", "a..*", "*.*", " tenant.*", "tenant created", "a\nb", "a\x00", "\xff", strings.Repeat("x", 513)} {
		err := ValidatePattern(p)
		if err == nil {
			t.Errorf("%q is taken for a pattern", p)
			continue
		}
		if !strings.HasPrefix(err.Error(), "reading event pattern") || len(err.Error()) > 300 {
			t.Errorf("%q: %v", p, err)
		}
		if _, err := NewMatcher([]string{"*", p}); err == nil {
			t.Errorf("NewMatcher takes %q", p)
		}
		if Match([]string{p}, "tenant.created") || Match([]string{p}, p) {
			t.Errorf("%q selects something", p)
		}
	}
	for _, p := range []string{"*", "tenant.*", "tenant.app.*", "tenant.created", "made_up.type-2", "tenant", "ønske.*"} {
		if err := ValidatePattern(p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func FuzzMatcherAgreesWithMatch(f *testing.F) {
	f.Add("tenant.*", "tenant.created")
	f.Add("*", "x")
	f.Add("a*", "a*")
	f.Add("a b", "a b")
	f.Fuzz(func(t *testing.T, pattern, typ string) {
		m, err := NewMatcher([]string{pattern})
		if (err == nil) != (ValidatePattern(pattern) == nil) {
			t.Fatalf("NewMatcher and ValidatePattern differ on %q", pattern)
		}
		if m.Match(typ) != Match([]string{pattern}, typ) {
			t.Errorf("Matcher and Match differ on %q, %q", pattern, typ)
		}
	})
}
