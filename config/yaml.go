package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/avhub/avhub/sdk/schema"
)

// Limits on a file. They are far above what people write and keep a few lines
// of aliases from becoming gigabytes.
const (
	maxFile  = 1 << 20 // bytes
	maxNodes = 100_000 // values, those repeated by aliases included
	maxDepth = 64
)

// severalDocuments is our own word among those of the YAML parser.
const severalDocuments = "several documents"

// parseYAML reads the one document of a file, nil when there is none. A
// non-empty message is the parser's, without a line.
func parseYAML(text []byte) (root *yaml.Node, message string) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	if err := decoder.Decode(&first); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, ""
		}
		return nil, plainMessage(err)
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, severalDocuments
	case !errors.Is(err, io.EOF):
		return nil, plainMessage(err)
	}
	if len(first.Content) == 0 {
		return nil, ""
	}
	return first.Content[0], ""
}

// plainMessage takes the parser's "yaml: line 3: " off.
func plainMessage(err error) string {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if after, ok := strings.CutPrefix(message, "line "); ok {
		return strings.TrimLeft(after, "0123456789: ")
	}
	return message
}

// syntaxProblem finds the line of a mistake that the parser complains about.
// Its own line numbers are those of the construct around it, some of them one
// off, so the line is found by asking: it is the last one of the shortest
// beginning of the file that draws the same complaint.
func syntaxProblem(file string, text []byte, message string) Problem {
	var ends []int
	for i, c := range text {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	ends = append(ends, len(text))
	line := 1 + sort.Search(len(ends)-1, func(i int) bool {
		_, again := parseYAML(text[:ends[i]])
		return again == message
	})
	begin := 0
	if line > 1 {
		begin = ends[line-2]
	}
	if indent := text[begin : len(text)-len(bytes.TrimLeft(text[begin:], " \t"))]; bytes.ContainsRune(indent, '\t') {
		message = "tab character"
	}
	summary, detail := explain(message)
	return Problem{Source: file, Line: line, Summary: summary, Detail: detail}
}

// explain puts the parser's words into ones that help. Words that it does not
// know are not passed on, for they may quote the file.
func explain(message string) (summary, detail string) {
	const noYAML = "this is not valid YAML"
	has := func(words string) bool { return strings.Contains(message, words) }
	switch {
	case message == severalDocuments:
		return "a second document begins here", "keep one document in the file: take the --- out"
	case has("tab character"):
		return "a tab is used for indentation", "YAML takes spaces only: replace the tab by spaces"
	case has("cannot start any token"):
		return "a value begins with a character that has a meaning in YAML", "put values that begin with @, ` or % in quotes"
	case has("<document start>"):
		return "there is text behind the end of the document", "take the line of three dots (...) before it out"
	case has("mapping values are not allowed"):
		return "there is a colon where none can be", "put the value in quotes, or correct the indentation of this line or the one before"
	case has("could not find expected ':'"):
		return "a key without a colon", "write key: value, and indent the lines that belong to it"
	case has("did not find expected key"):
		return "this line does not fit what is around it", "give it the indentation of its neighbours, and put text with quotes inside in quotes as a whole"
	case has("did not find expected '-' indicator"):
		return "this line stands among the entries of a list but is none", "begin it with a dash, or correct its indentation"
	case has("block sequence entries are not allowed"):
		return "an entry of a list begins where none can", "begin the list on a line of its own"
	case has("did not find expected ',' or"), has("did not find expected node content"):
		return "a [ or { that begins here is not closed properly", "separate the entries by commas and end them with ] or }"
	case has("unexpected end of stream"):
		return "a quote that begins here is not closed", "end the text with the quote that it begins with"
	case has("unknown escape character"):
		return "an unknown escape after a backslash", "use single quotes for text with backslashes"
	case has("unknown anchor"):
		return "an alias (*name) without its anchor (&name)", "define the anchor above, or put the text in quotes"
	case has("contains itself"):
		return "an anchor that contains itself", "write the value out"
	case has("control characters"), has("UTF"), has("nicode"):
		return "a control character or one that is no valid UTF-8", "remove it, and save the file as UTF-8"
	case has("tag"):
		return "a tag (!name) that YAML does not know", "take the tag out, or put the text in quotes"
	case has("exceeded max depth"):
		return "nested too deeply", fmt.Sprintf("a configuration has at most %d levels", maxDepth)
	}
	return noYAML, "correct this line or the one before"
}

// invalidText finds what is not UTF-8 before the parser takes it for UTF-16.
func invalidText(file string, text []byte) (Problem, bool) {
	for i, line := 0, 1; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 || r == 0 {
			return Problem{Source: file, Line: line, Summary: "this is not text in UTF-8", Detail: "save the file as UTF-8"}, true
		}
		if r == '\n' {
			line++
		}
		i += size
	}
	return Problem{}, false
}

// builder turns the nodes of a file into a generic tree and its marks, with
// ${…} expanded, aliases written out and every mistake reported.
type builder struct {
	file     string
	expand   *expander
	problems []Problem
	path     schema.Path // of the value being read
	nodes    int
	alias    *yaml.Node // the outermost one that is being written out
	stopped  bool       // at a limit, after which nothing is worth reading
}

func (b *builder) problem(n *yaml.Node, summary, detail string) {
	b.problems = append(b.problems, Problem{Source: b.file, Line: n.Line, Column: n.Column,
		Path: slices.Clone(b.path), Summary: summary, Detail: detail})
}

func (b *builder) stop(n *yaml.Node, summary, detail string) {
	if !b.stopped {
		b.stopped = true
		b.path = nil
		b.problems = nil
		if b.alias != nil {
			n = b.alias
		}
		b.problem(n, summary, detail)
	}
}

func (b *builder) value(n *yaml.Node, depth int) (any, *mark) {
	m := &mark{line: n.Line, column: n.Column}
	b.nodes++
	switch {
	case b.stopped:
		return nil, m
	case depth > maxDepth:
		b.stop(n, "nested too deeply", fmt.Sprintf("a configuration has at most %d levels; an alias must not stand within its own anchor", maxDepth))
		return nil, m
	case b.nodes > maxNodes:
		b.stop(n, "too many values", fmt.Sprintf("a configuration has at most %d of them, aliases written out", maxNodes))
		return nil, m
	}
	switch n.Kind {
	case yaml.AliasNode:
		if b.alias == nil {
			b.alias = n
			defer func() { b.alias = nil }()
		}
		value, at := b.value(n.Alias, depth+1)
		at.line, at.column = n.Line, n.Column
		return value, at
	case yaml.MappingNode:
		if !b.tagged(n, "!!map") {
			return nil, m
		}
		return b.mapping(n, m, depth), m
	case yaml.SequenceNode:
		if !b.tagged(n, "!!seq") {
			return nil, m
		}
		items := make([]any, len(n.Content))
		m.items = make([]*mark, len(n.Content))
		for i, child := range n.Content {
			b.path = append(b.path, i)
			items[i], m.items[i] = b.value(child, depth+1)
			b.leave()
		}
		return items, m
	}
	return b.scalar(n, m), m
}

func (b *builder) leave() {
	if len(b.path) > 0 { // stop has emptied it
		b.path = b.path[:len(b.path)-1]
	}
}

func (b *builder) tagged(n *yaml.Node, allowed ...string) bool {
	if slices.Contains(allowed, n.ShortTag()) {
		return true
	}
	b.problem(n, "a tag (!name) that means nothing here", "take the tag out, or put the text in quotes")
	return false
}

func (b *builder) mapping(n *yaml.Node, m *mark, depth int) map[string]any {
	object := make(map[string]any, len(n.Content)/2)
	m.keys = make(map[string]*mark, len(n.Content)/2)
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, child := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			b.problem(n.Content[i], "a key that is no text", "write a plain word before the colon")
			continue
		case key.ShortTag() == "!!merge":
			merged = append(merged, child)
			continue
		}
		if first, ok := m.keys[key.Value]; ok {
			b.path = append(b.path, key.Value)
			b.problem(n.Content[i], fmt.Sprintf("the key is already given on line %d", first.keyLine), "keep one of the two")
			b.leave()
			continue
		}
		b.path = append(b.path, key.Value)
		value, at := b.value(child, depth+1)
		b.leave()
		at.keyLine, at.keyColumn = n.Content[i].Line, n.Content[i].Column
		object[key.Value], m.keys[key.Value] = value, at
	}
	for _, from := range merged {
		b.merge(from, object, m, depth)
	}
	return object
}

// merge adds what "<<" brings in: keys that are not there yet, of one mapping
// or of a list of them, the first of which wins.
func (b *builder) merge(from *yaml.Node, object map[string]any, m *mark, depth int) {
	value, at := b.value(from, depth+1)
	values, marks := []any{value}, []*mark{at}
	if list, ok := value.([]any); ok {
		values, marks = list, at.items
	}
	for i, value := range values {
		other, ok := value.(map[string]any)
		if !ok {
			if !b.stopped {
				b.problem(from, "<< merges mappings only", "name an anchor of a mapping: <<: *name")
			}
			return
		}
		for key, value := range other {
			if _, ok := m.keys[key]; !ok {
				object[key], m.keys[key] = value, marks[i].keys[key]
			}
		}
	}
}

func (b *builder) scalar(n *yaml.Node, m *mark) any {
	if !b.tagged(n, "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp") {
		return nil
	}
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		text, expanded, failure := b.expand.text(n)
		if failure != nil {
			b.problem(n, failure.summary, failure.detail)
			return nil
		}
		m.expanded = expanded
		return text
	case "!!int", "!!float":
		// As it is written, where JSON could write it so: an account number must
		// not lose its last digits on the way through a float.
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
	}
	var value any
	err := n.Decode(&value)
	if err == nil {
		_, err = json.Marshal(value) // .inf and .nan
	}
	if err != nil {
		b.problem(n, "not a value of the type that it is tagged with, or not a finite number", "correct it, or put it in quotes")
		return nil
	}
	return value
}
