package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
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

func TestACellOfEachTypeIsReadable(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, c := range []struct {
		value any
		want  string
	}{
		{nil, ""}, {"x", "x"}, {"", ""}, {true, "yes"}, {false, "no"}, {int64(7), "7"}, {at, "2026-01-02T03:04:05Z"},
		{json.RawMessage(`["a", "b"]`), "a, b"}, {json.RawMessage(`[]`), ""}, {json.RawMessage(`{"a": 1}`), `{"a":1}`}, {json.RawMessage(`[1]`), `[1]`},
	} {
		if got := cellText(c.value); got != c.want {
			t.Errorf("cellText(%#v) = %q, want %q", c.value, got, c.want)
		}
	}
}
