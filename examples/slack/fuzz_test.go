package main

import (
	"regexp"
	"strings"
	"testing"
)

var notEscaped = regexp.MustCompile(`[<>\n\r\x{2028}\x{2029}]|&(?:[^alg]|$)`)

// Whatever somebody calls himself, to Slack it is text on one line.
func FuzzAnyValueIsPlainTextToSlack(f *testing.F) {
	for _, seed := range []string{"<!channel>", "@channel", "@\u200bhere", "a\n*b*", "&lt;", "\u202ex", "\xff<", "`", "|", "https://x/?a|b>c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		text := escape(value)
		if found := notEscaped.FindString(text); found != "" || broadcasts.MatchString(text) {
			t.Errorf("%q becomes %q", value, text)
		}
		if len([]rune(plain(value))) > maxValue+1 {
			t.Errorf("%q is not cut", value)
		}
		if inner, fixed := strings.CutPrefix(string(code(value)), "`"); fixed && strings.Count(inner, "`") != 1 {
			t.Errorf("%q ends its code: %q", value, inner)
		}
		for _, made := range []markup{link(value, value), link("https://x.example/"+value, value)} {
			inner, isLink := strings.CutPrefix(string(made), "<http")
			if inner, ends := strings.CutSuffix(inner, ">"); isLink && (!ends || strings.ContainsAny(inner, "<>\n") || strings.Count(inner, "|") != 1) {
				t.Errorf("%q makes the link %q", value, made)
			}
			if !isLink && strings.ContainsAny(string(made), "<>") {
				t.Errorf("%q makes %q", value, made)
			}
		}
	})
}
