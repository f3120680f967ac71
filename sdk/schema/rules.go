package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ourTags are the tags beside json that mean something here.
var ourTags = [...]string{"doc", "default", "enum", "min", "max", "pattern", "required", "secret", "example"}

// bound is one end of a range, in the notation of the field.
type bound struct {
	text string
	i    int64   // whole numbers, nanoseconds, bytes, lengths
	f    float64 // formFloat
}

// rules reads the tags of one field into n.
func (p *planner) rules(n *node, tag reflect.StructTag, where string) {
	p.spelling(tag, where)
	n.doc, n.example = tag.Get("doc"), tag.Get("example")
	n.required = p.flag(tag, "required", where)
	n.secret = p.flag(tag, "secret", where)
	n.min = p.bound(n, tag, "min", where)
	n.max = p.bound(n, tag, "max", where)
	if n.min != nil && n.max != nil && (n.min.i > n.max.i || n.min.f > n.max.f) {
		p.mistake(where, "min %s is above max %s", n.min.text, n.max.text)
	}
	if text, ok := tag.Lookup("default"); ok {
		n.deflt = &text
	}
	if n.deflt != nil && n.required {
		p.mistake(where, "a required field never takes its default; take one of the two tags out")
	}
	if n.deflt != nil && n.secret {
		p.mistake(where, "a secret with a default is known to everybody; take the default out")
	}

	// Of a list or map, the words of enum and pattern are about the elements.
	words := n
	for words.form == formList || words.form == formMap {
		words = words.elem
	}
	if text, ok := tag.Lookup("enum"); ok {
		n.enum = strings.Split(text, "|")
		words.enum = n.enum
		p.enum(words, where)
	}
	if text, ok := tag.Lookup("pattern"); ok {
		re, err := regexp.Compile(text)
		switch {
		case err != nil:
			p.mistake(where, "pattern is no regular expression: %v", err)
		case words.form != formText && words.form != formCustomText:
			p.mistake(where, "pattern is for text, and this takes %s", words.words())
		default:
			n.pattern, words.pattern = re, re
		}
	}
}

func (p *planner) flag(tag reflect.StructTag, name, where string) bool {
	text, ok := tag.Lookup(name)
	if !ok || text == "false" {
		return false
	}
	if text != "true" {
		p.mistake(where, "%s takes \"true\" or \"false\", not %q", name, text)
	}
	return text == "true"
}

func (p *planner) bound(n *node, tag reflect.StructTag, name, where string) *bound {
	text, ok := tag.Lookup(name)
	if !ok {
		return nil
	}
	b := &bound{text: text}
	var err error
	switch n.form {
	case formInt:
		b.i, err = strconv.ParseInt(text, 10, 64)
	case formFloat:
		b.f, err = strconv.ParseFloat(text, 64)
	case formDuration:
		var d time.Duration
		d, err = time.ParseDuration(text)
		b.i = int64(d)
	case formSize:
		var size ByteSize
		size, err = ParseByteSize(text)
		b.i = int64(size)
	case formText, formList, formMap:
		b.i, err = strconv.ParseInt(text, 10, 64)
		if err == nil && b.i < 0 {
			err = fmt.Errorf("a length is never below 0")
		}
	default:
		err = fmt.Errorf("%s has no order", n.words())
	}
	if err != nil {
		p.mistake(where, "%s:%q does not fit a field that takes %s: %v", name, text, n.words(), err)
		return nil
	}
	return b
}

func (p *planner) enum(n *node, where string) {
	for _, word := range n.enum {
		switch n.form {
		case formText, formCustomText:
		case formInt:
			if i, err := strconv.ParseInt(word, 10, 64); err != nil || strconv.FormatInt(i, 10) != word {
				p.mistake(where, "enum holds %q, which is no whole number", word)
			}
		default:
			p.mistake(where, "enum is for text and whole numbers, and this takes %s", n.words())
			return
		}
	}
}

// deflt turns the default tag into a document and proves that the field takes it.
func (p *planner) deflt(n *node, t reflect.Type, where string) {
	if n.deflt == nil {
		return
	}
	n.defltDoc = *n.deflt
	if !n.scalar() {
		if err := json.Unmarshal([]byte(*n.deflt), &n.defltDoc); err != nil {
			p.mistake(where, "the default of %s is written as JSON: %v", n.words(), err)
			return
		}
	}
	d := decoder{}
	d.decode(n, n.defltDoc, reflect.New(t).Elem(), nil, false)
	for _, problem := range d.problems {
		p.mistake(where, "the field does not take its own default %q: %s", *n.deflt, problem)
	}
}

// spelling finds tags that are almost ours. Reflection ignores what it does not
// know, so `requird:"true"` would silently mean nothing.
func (p *planner) spelling(tag reflect.StructTag, where string) {
	names, ok := tagNames(string(tag))
	if !ok {
		p.mistake(where, "the tags are not written as name:\"value\" pairs with one space between them")
		return
	}
	for _, name := range names {
		if len(name) < 4 || name == "json" {
			continue
		}
		for _, ours := range ourTags {
			if distance(name, ours, 1) == 1 {
				p.mistake(where, "the tag %q means nothing; did you mean %q?", name, ours)
			}
		}
	}
}

// tagNames lists the names in a struct tag; false when the tag breaks its
// convention, after which reflection sees none of the rest.
func tagNames(tag string) ([]string, bool) {
	var names []string
	for tag = strings.TrimLeft(tag, " "); tag != ""; tag = strings.TrimLeft(tag, " ") {
		name, rest, ok := strings.Cut(tag, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \"") {
			return nil, false
		}
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, false
		}
		names = append(names, name)
		tag = rest[len(quoted):]
	}
	return names, true
}
