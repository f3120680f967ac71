package schema

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// form is the notation that a value has in a document.
type form int

const (
	formText form = iota + 1
	formBool
	formInt
	formFloat
	formDuration
	formSize
	formList
	formMap
	formObject
	formFree       // whatever JSON can say, kept as it is
	formCustomText // a type with UnmarshalText
	formCustomJSON // a type with UnmarshalJSON alone
)

// node is the plan for one value: its notation and the rules for it.
type node struct {
	form   form
	typ    reflect.Type // with pointers taken off
	elem   *node        // of a list or map
	fields []field      // of an object
	rules
}

// field is one key of an object.
type field struct {
	key   string
	index []int // for reflect's FieldByIndex; longer than one for embedded structs
	node  *node
}

// rules are what the tags of a field say.
type rules struct {
	doc, example     string
	deflt            *string // the tag as written, nil without one
	defltDoc         any     // the same as a document
	enum             []string
	min, max         *bound
	pattern          *regexp.Regexp
	required, secret bool
}

// plan reads the type of a whole document.
func plan(t reflect.Type) (*node, error) {
	if t.Kind() != reflect.Struct || isLeaf(t) {
		return nil, fmt.Errorf("a configuration is a struct, and %s is none; wrap it in one", t)
	}
	p := planner{}
	root := p.node(t, t.String())
	if len(p.mistakes) > 0 {
		return nil, errors.Join(p.mistakes...)
	}
	return root, nil
}

// planner collects the author's mistakes, so that they are told all at once.
type planner struct {
	mistakes []error
	open     []reflect.Type // the structs around the place being read
}

func (p *planner) mistake(where, format string, args ...any) {
	p.mistakes = append(p.mistakes, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

func isLeaf(t reflect.Type) bool {
	ptr := reflect.PointerTo(t)
	return ptr.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) || ptr.Implements(reflect.TypeFor[json.Unmarshaler]())
}

// node returns nil after a mistake.
func (p *planner) node(t reflect.Type, where string) *node {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	n := &node{typ: t}
	switch t {
	case reflect.TypeFor[time.Duration]():
		n.form = formDuration
		return n
	case reflect.TypeFor[ByteSize]():
		n.form = formSize
		return n
	case reflect.TypeFor[json.Number]():
		p.mistake(where, "json.Number is not supported; use a Go number or any")
		return nil
	}
	ptr := reflect.PointerTo(t)
	switch {
	case ptr.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		n.form = formCustomText
		return n
	case ptr.Implements(reflect.TypeFor[json.Unmarshaler]()):
		n.form = formCustomJSON
		return n
	}
	switch t.Kind() {
	case reflect.String:
		n.form = formText
	case reflect.Bool:
		n.form = formBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n.form = formInt
	case reflect.Float32, reflect.Float64:
		n.form = formFloat
	case reflect.Interface:
		if t.NumMethod() > 0 {
			p.mistake(where, "an interface with methods cannot be decoded; use a struct or any")
			return nil
		}
		n.form = formFree
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			p.mistake(where, "bytes have no notation of their own; use string")
			return nil
		}
		n.form = formList
		n.elem = p.node(t.Elem(), where)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			p.mistake(where, "the keys of a document are text; use map[string]%s", t.Elem())
			return nil
		}
		n.form = formMap
		n.elem = p.node(t.Elem(), where)
	case reflect.Struct:
		n.form = formObject
		for _, outer := range p.open {
			if outer == t {
				p.mistake(where, "%s contains itself, which no schema can write out; use any for the inner one", t)
				return nil
			}
		}
		p.open = append(p.open, t)
		p.fields(n, t, nil, where)
		p.open = p.open[:len(p.open)-1]
	default:
		p.mistake(where, "%s cannot be written in a document; use text, bool, numbers, time.Duration, slices, maps, structs or any", t)
		return nil
	}
	if (n.form == formList || n.form == formMap) && n.elem == nil {
		return nil
	}
	return n
}

// fields adds the fields of the struct t to n; index leads from n's struct to t.
func (p *planner) fields(n *node, t reflect.Type, index []int, where string) {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(append([]int(nil), index...), i)
		here := where + "." + sf.Name
		key, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.Tag.Get("json") == "-" {
			continue
		}
		if sf.Anonymous && key == "" && sf.Type.Kind() == reflect.Struct && !isLeaf(sf.Type) {
			p.fields(n, sf.Type, at, here)
			continue
		}
		if !sf.IsExported() {
			continue
		}
		if sf.Anonymous && key == "" && sf.Type.Kind() == reflect.Pointer {
			p.mistake(here, "an embedded pointer would be nil or not depending on the document; embed the struct itself or name its key")
			continue
		}
		if key == "" {
			key = sf.Name
		}
		if hasOption(options, "string") {
			p.mistake(here, "json's option \"string\" is not needed: numbers may be written as text anyway; take it out")
		}
		for _, other := range n.fields {
			if other.key == key {
				p.mistake(here, "the key %q is taken by another field", key)
			}
		}
		before := len(p.mistakes)
		child := p.node(sf.Type, here)
		if child == nil {
			continue
		}
		p.rules(child, sf.Tag, here)
		if len(p.mistakes) > before {
			continue // its default can only be tried when the rest is right
		}
		p.deflt(child, sf.Type, here)
		n.fields = append(n.fields, field{key: key, index: at, node: child})
	}
}

func hasOption(options, name string) bool {
	for option := range strings.SplitSeq(options, ",") {
		if option == name {
			return true
		}
	}
	return false
}

// scalar says whether the node takes one word.
func (n *node) scalar() bool {
	switch n.form {
	case formText, formBool, formInt, formFloat, formDuration, formSize, formCustomText:
		return true
	}
	return false
}

// words says what the node takes, with an article, for messages.
func (n *node) words() string {
	switch n.form {
	case formText, formCustomText:
		return "text"
	case formBool:
		return "true or false"
	case formInt:
		return "a whole number"
	case formFloat:
		return "a number"
	case formDuration:
		return "a duration"
	case formSize:
		return "a size"
	case formList:
		return "a list"
	case formMap, formObject:
		return "a mapping"
	}
	return "any value"
}
