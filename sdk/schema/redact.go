package schema

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// RedactedText stands where a secret was.
const RedactedText = "(redacted)"

// maxDepth ends the walk through Go values that point back to themselves.
const maxDepth = 100

// Redacted is v as a generic tree (map[string]any, []any, string, bool, int64,
// uint64, float64, json.Number, nil), with every non-empty value below a field
// tagged secret replaced by [RedactedText]. The shape and the keys of secret
// lists and maps stay, and an empty secret stays empty, so that it can be seen
// whether one is set. Durations, sizes and types with MarshalText are text.
//
// v may be any value that encoding/json can encode; it needs no other tags.
func Redacted(v any) any {
	return walker{redact: true}.tree(reflect.ValueOf(v), false, 0)
}

// walker turns Go values into generic trees.
type walker struct {
	redact bool // hide secrets, and leave out what omitempty leaves out
}

func (w walker) tree(v reflect.Value, secret bool, depth int) any {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
		depth++
		if depth > maxDepth {
			break
		}
	}
	if !v.IsValid() {
		return nil
	}
	if depth > maxDepth {
		return "(nested too deeply)"
	}
	if leaf, ok := w.encoded(v, secret, depth); ok {
		return leaf
	}
	switch v.Kind() {
	case reflect.Struct:
		object := map[string]any{}
		w.members(v, object, secret, depth)
		return object
	case reflect.Map:
		if v.IsNil() {
			return nil
		}
		object := make(map[string]any, v.Len())
		for iter := v.MapRange(); iter.Next(); {
			object[keyText(iter.Key())] = w.tree(iter.Value(), secret, depth+1)
		}
		return object
	case reflect.Slice, reflect.Array:
		return w.list(v, secret, depth)
	}
	return w.leaf(v, secret)
}

// encoded handles the types that say themselves how they are written.
func (w walker) encoded(v reflect.Value, secret bool, depth int) (any, bool) {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		return w.word(shortDuration(time.Duration(v.Int())), v.IsZero(), secret), true
	}
	value := v.Interface()
	if !v.CanAddr() { // methods may be on the pointer
		addressable := reflect.New(v.Type()).Elem()
		addressable.Set(v)
		v = addressable
	}
	if m, ok := v.Addr().Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return "(cannot be written as text)", true
		}
		return w.word(string(text), len(text) == 0, secret), true
	}
	if _, ok := v.Addr().Interface().(json.Marshaler); ok {
		if raw, ok := value.(json.RawMessage); ok && len(raw) == 0 {
			return nil, true
		}
		data, err := json.Marshal(v.Addr().Interface())
		var doc any
		if err == nil {
			decoder := json.NewDecoder(bytes.NewReader(data))
			decoder.UseNumber()
			err = decoder.Decode(&doc)
		}
		if err != nil {
			return "(cannot be written as JSON)", true
		}
		return w.tree(reflect.ValueOf(doc), secret, depth+1), true
	}
	return nil, false
}

func (w walker) list(v reflect.Value, secret bool, depth int) any {
	if v.Kind() == reflect.Slice {
		if v.IsNil() {
			return nil
		}
		if v.Type().Elem().Kind() == reflect.Uint8 { // as encoding/json writes bytes
			return w.word(base64.StdEncoding.EncodeToString(v.Bytes()), v.Len() == 0, secret)
		}
	}
	items := make([]any, v.Len())
	for i := range items {
		items[i] = w.tree(v.Index(i), secret, depth+1)
	}
	return items
}

// members adds the fields of a struct, those of embedded structs among them.
func (w walker) members(v reflect.Value, object map[string]any, secret bool, depth int) {
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		if sf.Tag.Get("json") == "-" {
			continue
		}
		key, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		below := secret || sf.Tag.Get("secret") == "true"
		if inner, ok := embedded(sf, key, v.Field(i)); ok {
			if inner.IsValid() {
				w.members(inner, object, below, depth+1)
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		if key == "" {
			key = sf.Name
		}
		value := v.Field(i)
		if w.redact && omitted(options, value) {
			continue
		}
		object[key] = w.tree(value, below, depth+1)
	}
}

// embedded finds the struct whose fields stand among those of its outer one,
// as encoding/json has it; invalid for a nil pointer.
func embedded(sf reflect.StructField, key string, v reflect.Value) (reflect.Value, bool) {
	if !sf.Anonymous || key != "" {
		return v, false
	}
	t := sf.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
		if !sf.IsExported() || t.Kind() != reflect.Struct || isLeaf(t) {
			return v, false
		}
		return v.Elem(), true
	}
	return v, t.Kind() == reflect.Struct && !isLeaf(t)
}

func omitted(options string, v reflect.Value) bool {
	if hasOption(options, "omitzero") && v.IsZero() {
		return true
	}
	if !hasOption(options, "omitempty") {
		return false
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.Array:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

func keyText(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok && v.Kind() != reflect.String {
		if text, err := m.MarshalText(); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v.Interface())
}

func (w walker) leaf(v reflect.Value, secret bool) any {
	if secret && w.redact && !v.IsZero() {
		return RedactedText
	}
	switch {
	case v.Type() == reflect.TypeFor[json.Number]():
		return json.Number(v.String())
	case v.Kind() == reflect.String:
		return v.String()
	case v.Kind() == reflect.Bool:
		return v.Bool()
	case v.CanInt():
		return v.Int()
	case v.CanUint():
		return v.Uint()
	case v.CanFloat():
		return v.Float()
	}
	return fmt.Sprintf("(a Go %s)", v.Type())
}

func (w walker) word(text string, empty, secret bool) string {
	if secret && w.redact && !empty {
		return RedactedText
	}
	return text
}

// shortDuration is Duration.String without the zeros at its end: 5m, not 5m0s.
func shortDuration(t time.Duration) string {
	text := t.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
