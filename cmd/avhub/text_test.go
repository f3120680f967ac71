package main

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/application"
	"github.com/avhub/avhub/ent/identity"
	"github.com/avhub/avhub/ent/organization"
	"github.com/avhub/avhub/ent/ssoprovider"
)

func hostile() []string {
	return []string{
		"\x1b[31mred", "title\x1b]0;pwned\x07", "bell\a", "back\b\b\b", "over\rwrite", "two\nlines", "tab\tbed",
		"\u009b31mC1", "\u202egnirts", "zero\u200bwidth", "\ufeffbom", "bad\xff\xfebytes", "del\x7f", "\U000e0001tag", "nul\x00",
	}
}

func TestTextFromOutsideCannotControlATerminal(t *testing.T) {
	t.Parallel()
	for _, s := range hostile() {
		got := clean(s)
		if got == s || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("clean(%q) = %q", s, got)
		}
	}
	for _, s := range []string{"", "plain", "Łódź 東京 ñ", `back\slash "quotes"`, "emoji 🙂"} {
		if got := clean(s); got != s {
			t.Errorf("clean(%q) = %q, which was safe", s, got)
		}
	}
}

func TestJSONForTerminalsMeansTheSame(t *testing.T) {
	t.Parallel()
	for _, s := range append(hostile(), "Łódź", "\U0010ffff", `"`, `\`) {
		raw, err := json.Marshal(map[string]string{s: s})
		if err != nil {
			t.Fatal(err)
		}
		var want, got map[string]string
		safe := cleanJSON(raw)
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(safe, &got); err != nil {
			t.Fatalf("%q is no JSON any more: %s", safe, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q became %q", want, got)
		}
		if strings.ContainsFunc(string(safe), hidden) && !strings.Contains(string(safe), "\uFFFD") {
			t.Errorf("%q is not safe to print", safe)
		}
	}
	if got := cleanJSON([]byte("\"\xff\"")); !json.Valid(got) || strings.Contains(string(got), "\xff") {
		t.Errorf("a stray byte stays: %q", got)
	}
}

func TestSinceIsATimeOrHowLongAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                          {},
		"1h":                        now.Add(-time.Hour),
		"90m":                       now.Add(-90 * time.Minute),
		"7d":                        now.AddDate(0, 0, -7),
		"2026-01-31T08:00:00Z":      time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC),
		"2026-01-31T09:00:00+01:00": time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("parseSince(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "-1h", "d", "-3d", "999999999d", "99999999999999999999d", "2026-01-31", "1"} {
		if got, err := parseSince(text, now); err == nil {
			t.Errorf("parseSince(%q) = %s, want an error", text, got)
		}
	}
}

func TestAnArgumentIsQuotedAsAShellTakesIt(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"ten_1": "ten_1", "a b": "'a b'", "": "''", "it's": `'it'\''s'`, "$(rm)": "'$(rm)'"} {
		if got := quoted(in); got != want {
			t.Errorf("quoted(%q) = %s, want %s", in, got, want)
		}
	}
}

// A column that is added to a model shows up in show and --json, too.
func TestRowsHaveAllColumnsOfTheirModels(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		row     row
		columns []string
	}{
		"identity":     {identityRow(&ent.Identity{}), identity.Columns},
		"organization": {orgRow(&ent.Organization{}), organization.Columns},
		"application":  {appRow(&ent.Application{}), application.Columns},
		"sso provider": {ssoRow(&ent.SSOProvider{}), ssoprovider.Columns},
	} {
		want := slices.DeleteFunc(slices.Clone(c.columns), func(s string) bool { return s == "sync_state" })
		var got []string
		for _, col := range c.row {
			got = append(got, col.name)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has the columns\n%v\nand the row\n%v", name, want, got)
		}
	}
}

func TestACellOfEachTypeIsReadable(t *testing.T) {
	t.Parallel()
	text, yes, n, at := "x", true, int64(7), time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, c := range []struct {
		value any
		want  string
	}{
		{"x", "x"}, {&text, "x"}, {(*string)(nil), ""}, {true, "yes"}, {&yes, "yes"}, {(*bool)(nil), ""},
		{&n, "7"}, {(*int64)(nil), ""}, {at, "2026-01-02T03:04:05Z"}, {&at, "2026-01-02T03:04:05Z"}, {(*time.Time)(nil), ""},
		{[]string{"a", "b"}, "a, b"}, {[]string(nil), ""}, {json.RawMessage(`{"a":1}`), `{"a":1}`}, {json.RawMessage(nil), ""},
		{map[string]json.RawMessage{"a": json.RawMessage("1")}, `{"a":1}`}, {map[string]json.RawMessage(nil), ""},
	} {
		if got := cellText(c.value); got != c.want {
			t.Errorf("cellText(%#v) = %q, want %q", c.value, got, c.want)
		}
	}
}
