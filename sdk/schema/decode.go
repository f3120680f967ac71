package schema

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Decode fills into from doc, a generic JSON tree: map[string]any, []any,
// string, bool, nil, and numbers as float64, json.Number or any Go number. An
// absent document (nil) is an empty one. Fields that doc does not name get
// their default or, without one, their zero value, whatever was in them before.
// Free-form values are taken over as they are, not copied.
//
// It reports all mistakes of doc at once, in the order of the fields. When
// there are any, into holds what could be read and is good only for looking for
// further mistakes. If T itself is mistaken (see [Of]), that is the one problem.
func Decode[T any](doc any, into *T) []Problem {
	root, err := plan(reflect.TypeFor[T]())
	if err != nil {
		return []Problem{{Kind: BadSchema, Summary: "the program's own configuration type is mistaken", Detail: err.Error()}}
	}
	d := decoder{}
	d.decode(root, doc, reflect.ValueOf(into).Elem(), nil, false)
	return d.problems
}

// Check finds what Decode would say about v if it were written as a document:
// for values that were put together in Go.
func Check[T any](v T) []Problem {
	var into T
	return Decode(walker{}.tree(reflect.ValueOf(v), false, 0), &into)
}

type decoder struct {
	problems []Problem
}

func (d *decoder) problem(path Path, kind Kind, summary, detail string) {
	d.problems = append(d.problems, Problem{Path: path, Kind: kind, Summary: summary, Detail: detail})
}

// decode reads v, which is there, into a place of the node's type or a pointer
// to it. secret is true below a field tagged so.
func (d *decoder) decode(n *node, v any, into reflect.Value, path Path, secret bool) {
	for into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	into.SetZero()
	secret = secret || n.secret
	switch n.form {
	case formObject:
		d.object(n, v, into, path, secret)
	case formMap:
		d.mapping(n, v, into, path, secret)
	case formList:
		d.list(n, v, into, path, secret)
	case formFree:
		if v != nil {
			into.Set(reflect.ValueOf(v))
		}
	case formCustomJSON:
		d.customJSON(v, into, path, secret)
	default:
		d.scalar(n, v, into, path, secret)
	}
}

func (d *decoder) object(n *node, v any, into reflect.Value, path Path, secret bool) {
	doc, ok := v.(map[string]any)
	if !ok && v != nil {
		d.wrongType(n, v, path)
		return
	}
	unknown := maps.Clone(doc)
	var absent []string
	for _, f := range n.fields {
		value := doc[f.key]
		delete(unknown, f.key)
		place, at := into.FieldByIndex(f.index), path.Child(f.key)
		if value == nil {
			absent = append(absent, f.key)
			d.absent(f, place, at, secret)
			continue
		}
		if f.node.required && isEmpty(value) {
			d.problem(at, Missing, "is empty", f.wanted())
			continue
		}
		d.decode(f.node, value, place, at, secret)
	}
	for _, key := range slices.Sorted(maps.Keys(unknown)) {
		d.problem(path.Child(key), UnknownKey, "unknown key", n.instead(key, absent))
	}
}

// absent gives a field that the document does not name what is due to it.
func (d *decoder) absent(f field, place reflect.Value, at Path, secret bool) {
	n := f.node
	switch {
	case n.required:
		d.problem(at, Missing, "is missing", f.wanted())
	case n.deflt != nil:
		d.decode(n, n.defltDoc, place, at, secret)
	case n.form == formObject && place.Kind() != reflect.Pointer:
		d.decode(n, nil, place, at, secret) // for the defaults inside
	default:
		place.SetZero()
	}
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// wanted asks for a field by what its author says about it.
func (f field) wanted() string {
	var b strings.Builder
	fmt.Fprintf(&b, "set %s to %s", f.key, f.node.words())
	if f.node.doc != "" {
		fmt.Fprintf(&b, " (%s)", strings.TrimSuffix(f.node.doc, "."))
	}
	if f.node.example != "" {
		fmt.Fprintf(&b, ", for example %s", f.node.example)
	}
	return b.String()
}

// instead names the key that was meant, or all that could be.
func (n *node) instead(key string, absent []string) string {
	if near := Nearest(key, absent); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(n.fields) == 0 {
		return "nothing can be set here; take it out"
	}
	keys := make([]string, len(n.fields))
	for i, f := range n.fields {
		keys[i] = f.key
	}
	return "the keys here are " + strings.Join(keys, ", ")
}

func (d *decoder) mapping(n *node, v any, into reflect.Value, path Path, secret bool) {
	doc, ok := v.(map[string]any)
	if !ok {
		d.wrongType(n, v, path)
		return
	}
	into.Set(reflect.MakeMapWithSize(into.Type(), len(doc)))
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		elem := reflect.New(into.Type().Elem()).Elem()
		d.elem(n.elem, doc[key], elem, path.Child(key), secret)
		into.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), elem)
	}
	d.length(n, len(doc), "entries", path)
}

func (d *decoder) list(n *node, v any, into reflect.Value, path Path, secret bool) {
	doc, ok := v.([]any)
	if !ok {
		d.wrongType(n, v, path)
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(doc), len(doc)))
	for i, item := range doc {
		d.elem(n.elem, item, into.Index(i), path.Child(i), secret)
	}
	d.length(n, len(doc), "entries", path)
}

// elem reads an element of a list or map. There, a null is no absent key: a
// mapping of defaults is all that it can stand for.
func (d *decoder) elem(n *node, v any, into reflect.Value, path Path, secret bool) {
	if v == nil && n.form != formObject && n.form != formFree && n.form != formCustomJSON {
		d.wrongType(n, v, path)
		return
	}
	d.decode(n, v, into, path, secret)
}

func (d *decoder) customJSON(v any, into reflect.Value, path Path, secret bool) {
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, into.Addr().Interface())
	}
	if err != nil {
		d.problem(path, NotAllowed, "is not valid", authorsWords(err, secret))
	}
}

func (d *decoder) customText(n *node, text string, into reflect.Value, path Path, secret bool) {
	if !d.word(n, text, path, secret) {
		return
	}
	if err := into.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
		d.problem(path, NotAllowed, "is not valid", authorsWords(err, secret))
	}
}

// authorsWords is the error of a type's own unmarshalling, which may quote the
// value.
func authorsWords(err error, secret bool) string {
	if secret {
		return "correct the secret; what is wrong with it is not told, as that may give it away"
	}
	return err.Error()
}

// wrongType says what was found by its kind alone.
func (d *decoder) wrongType(n *node, v any, path Path) {
	found, detail := kindOf(v), n.notation()
	if (found == "a number" || found == "true or false") && (n.form == formText || n.form == formCustomText) {
		detail = "put it in quotes"
	}
	d.problem(path, WrongType, "wrong type: needs "+n.words()+", found "+found, detail)
}

// notation says how such a value is written.
func (n *node) notation() string {
	switch n.form {
	case formText, formCustomText:
		return "write one word or sentence, in quotes where it holds special characters"
	case formBool:
		return "write true or false"
	case formInt:
		return "write it in digits alone"
	case formFloat:
		return "write it in digits, with a point for the fraction"
	case formDuration:
		return "write a number with its unit: 300ms, 5s, 10m or 72h"
	case formSize:
		return "write a whole number with its unit: 512KiB, 1MiB or 10MB"
	case formList:
		if n.elem.scalar() {
			return "write [first, second], also when there is only one"
		}
		return "begin each entry with a dash"
	}
	return "write key: value pairs"
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case string:
		return "text"
	case bool:
		return "true or false"
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	}
	if _, ok := number(v); ok {
		return "a number"
	}
	return fmt.Sprintf("a Go value of type %T", v)
}

func parseDuration(v any) (time.Duration, bool) {
	text, ok := v.(string)
	if !ok {
		return 0, false
	}
	t, err := time.ParseDuration(text)
	return t, err == nil
}
