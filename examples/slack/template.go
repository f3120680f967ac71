package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
	"time"
	"unicode"
)

const (
	// maxValue bounds a value out of an event, in characters.
	maxValue = 300
	// maxText bounds a message, in bytes; Slack cuts off what is longer.
	maxText = 40_000
)

// markup is text for Slack that a helper has made: it is not escaped again.
type markup string

// template is the words of a route.
type template struct {
	own *texttemplate.Template // nil: the texts of words.go
}

// escapeName is the function that every value runs through on its way into a
// message.
const escapeName = "_escape"

func helpers() texttemplate.FuncMap {
	return texttemplate.FuncMap{
		escapeName: func(v any) string { return escape(v) },
		"link":     link,
		"code":     code,
		"when":     when,
		"join":     join,
	}
}

// parseTemplate reads a route's template and tries it: with an event that has
// everything, and with one that has next to nothing, for each type that the
// route takes. Errors are for the person who wrote it.
func parseTemplate(r route) (*template, error) {
	if r.Template == "" {
		return &template{}, nil
	}
	own, err := newTemplate("template", r.Template)
	if err != nil {
		return nil, errors.New("cannot be read: " + inWords(err))
	}
	t := &template{own}
	tried := 0
	for _, typ := range append(knownTypes(), plainTypes(r.Events)...) {
		if !r.fits(typ) {
			continue
		}
		tried++
		if _, err := t.write(fullSample(typ)); err != nil {
			return nil, fmt.Errorf("fails for %s: %w", typ, err)
		}
		if _, err := t.write(bareSample(typ)); err != nil {
			return nil, fmt.Errorf("fails for %s when what it names is missing: %w", typ, err)
		}
	}
	if tried == 0 { // a family that is not in the catalog
		_, err = t.write(bareSample("unknown.type"))
	}
	return t, err
}

// plainTypes are the patterns that are types.
func plainTypes(patterns []string) []string {
	return slices.DeleteFunc(slices.Clone(patterns), func(p string) bool { return strings.HasSuffix(p, "*") })
}

// newTemplate parses a text, and lets every value that it puts out be escaped.
func newTemplate(name, text string) (*texttemplate.Template, error) {
	t, err := texttemplate.New(name).Funcs(helpers()).Parse(text)
	if err != nil {
		return nil, err
	}
	for _, one := range t.Templates() {
		if one.Tree != nil {
			escapeOutput(one.Tree.Root)
		}
	}
	return t, nil
}

// escapeOutput puts the escaping behind every pipeline that is put out, so that
// nobody who writes a template can forget it.
func escapeOutput(n parse.Node) {
	branch := func(b *parse.BranchNode) {
		escapeOutput(b.List)
		if b.ElseList != nil {
			escapeOutput(b.ElseList)
		}
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			escapeOutput(child)
		}
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 {
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{
				NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{parse.NewIdentifier(escapeName).SetPos(n.Pos)},
			})
		}
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	}
}

// write makes the text for an event.
func (t *template) write(v view) (string, error) {
	own := t.own
	if own == nil {
		own = wordsFor(v.Event.Type)
	}
	var out bounded
	if err := own.Execute(&out, v); err != nil {
		if errors.Is(err, errTooLong) {
			return "", errTooLong
		}
		return "", errors.New(inWords(err))
	}
	return out.String(), nil
}

var errTooLong = errors.New("the message would be longer than Slack's 40,000 bytes; shorten the template")

// bounded is a text that does not grow without end.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxText {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

// inWords takes out of an error what its reader does not know.
func inWords(err error) string {
	text := strings.TrimPrefix(err.Error(), "template: template:")
	text = strings.ReplaceAll(text, " in type main.view", "")
	text = strings.ReplaceAll(text, "executing \"template\" at ", "")
	text = regexp.MustCompile(` in type (main|plugin)\.`).ReplaceAllString(text, " in ")
	return "line " + text
}

var (
	slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	broadcasts   = regexp.MustCompile(`(?i)@(channel|here|everyone|group)\b`)
)

// escape makes text of a value that came with an event: on one line, of bounded
// length, and without anything that Slack would take for a link, a command or a
// mention.
func escape(v any) string {
	if m, ok := v.(markup); ok {
		return string(m)
	}
	return slackEscapes.Replace(broadcasts.ReplaceAllString(plain(v), "@\u200b$1"))
}

// plain is a value's text on one line.
func plain(v any) string {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer {
		r = r.Elem()
	}
	if !r.IsValid() {
		return ""
	}
	text := ""
	switch v := r.Interface().(type) {
	case time.Time:
		text = v.UTC().Format("2006-01-02 15:04 UTC")
	case json.RawMessage:
		text = string(v)
	default:
		text = fmt.Sprint(v)
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\u2028' || r == '\u2029' || unicode.IsControl(r):
			return ' '
		case unicode.Is(unicode.Cf, r): // would turn the writing around, or hide
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if runes := []rune(text); len(runes) > maxValue {
		text = string(runes[:maxValue]) + "…"
	}
	return text
}

// link is a link that shows text. What is no web address is shown as text.
func link(address, text any) markup {
	u, err := url.Parse(plain(address))
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return markup(escape(text))
	}
	target := strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", " ", "%20", "&", "&amp;").Replace(u.String())
	return markup("<" + target + "|" + strings.ReplaceAll(escape(text), "|", "¦") + ">")
}

// code shows a value in a fixed font.
func code(v any) markup {
	text := strings.ReplaceAll(escape(v), "`", "'")
	if text == "" {
		return ""
	}
	return markup("`" + text + "`")
}

// when shows a time by the reader's own clock.
func when(t time.Time) markup {
	if t.IsZero() {
		return ""
	}
	return markup(fmt.Sprintf("<!date^%d^{date_short_pretty} {time}|%s>", t.Unix(), escape(t)))
}

// join puts the elements of a list behind one another.
func join(list any, separator string) string {
	r := reflect.ValueOf(list)
	if !r.IsValid() || r.Kind() != reflect.Slice {
		return plain(list)
	}
	words := make([]string, r.Len())
	for i := range words {
		words[i] = plain(r.Index(i).Interface())
	}
	return strings.Join(words, separator)
}
