package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
)

// dialect is the draft that JSONSchema speaks, https://json-schema.org/draft/2020-12.
const dialect = "https://json-schema.org/draft/2020-12/schema"

const (
	durationPattern = `^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`
	sizePattern     = `^[0-9]+ *(([kKmMgGtT][iI]?)?[bB])?$`
)

// JSONSchema writes the schema in JSON Schema's draft 2020-12, keys in the
// order of the fields. Numbers that are spelled as text, which [Decode] takes
// for the sake of environment variables, are not part of it.
func (s *Schema) JSONSchema() ([]byte, error) {
	members := append(object{{"$schema", dialect}}, s.root.jsonSchema()...)
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(members); err != nil {
		return nil, fmt.Errorf("writing the JSON Schema of %s: %w", s.root.typ, err)
	}
	return out.Bytes(), nil
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	key   string
	value any
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	out.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := encoder.Encode(m.key); err != nil {
			return nil, err
		}
		out.WriteByte(':')
		if err := encoder.Encode(m.value); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

func (n *node) jsonSchema() object {
	var o object
	add := func(key string, value any) { o = append(o, member{key, value}) }
	if n.doc != "" {
		add("description", n.doc)
	}
	switch n.form {
	case formText, formCustomText:
		add("type", "string")
		n.addText(add)
	case formBool:
		add("type", "boolean")
	case formInt:
		add("type", "integer")
		n.addIntegers(add)
	case formFloat:
		add("type", "number")
		if n.min != nil {
			add("minimum", n.min.f)
		}
		if n.max != nil {
			add("maximum", n.max.f)
		}
	case formDuration:
		add("type", "string")
		add("pattern", durationPattern)
	case formSize:
		add("type", []string{"string", "integer"})
		add("pattern", sizePattern)
		add("minimum", 0)
	case formList:
		add("type", "array")
		add("items", n.elem.jsonSchema())
		n.addLengths(add, "minItems", "maxItems")
	case formMap:
		add("type", "object")
		add("additionalProperties", n.elem.jsonSchema())
		n.addLengths(add, "minProperties", "maxProperties")
	case formObject:
		n.addMembers(add)
	}
	if n.deflt != nil {
		add("default", n.defaultJSON())
	}
	if n.example != "" {
		add("examples", []any{n.exampleJSON()})
	}
	if n.secret {
		add("writeOnly", true)
	}
	return o
}

func (n *node) addText(add func(string, any)) {
	if n.enum != nil {
		add("enum", n.enum)
	}
	if n.pattern != nil {
		add("pattern", n.pattern.String())
	}
	n.addLengths(add, "minLength", "maxLength")
}

func (n *node) addIntegers(add func(string, any)) {
	if n.enum != nil {
		numbers := make([]json.Number, len(n.enum))
		for i, word := range n.enum {
			numbers[i] = json.Number(word)
		}
		add("enum", numbers)
	}
	switch {
	case n.min != nil:
		add("minimum", n.min.i)
	case n.typ.Kind() >= reflect.Uint && n.typ.Kind() <= reflect.Uint64:
		add("minimum", 0)
	}
	if n.max != nil {
		add("maximum", n.max.i)
	}
}

func (n *node) addLengths(add func(string, any), least, most string) {
	switch {
	case n.min != nil:
		lower := n.min.i
		if n.required {
			lower = max(lower, 1)
		}
		add(least, lower)
	case n.required:
		add(least, 1) // required means not empty, too
	}
	if n.max != nil {
		add(most, n.max.i)
	}
}

func (n *node) addMembers(add func(string, any)) {
	properties := object{}
	var required []string
	for _, f := range n.fields {
		properties = append(properties, member{f.key, f.node.jsonSchema()})
		if f.node.required {
			required = append(required, f.key)
		}
	}
	add("type", "object")
	add("properties", properties)
	if required != nil {
		add("required", required)
	}
	add("additionalProperties", false)
}

// defaultJSON is the default in the notation of JSON: a number is no text.
func (n *node) defaultJSON() any {
	switch n.form {
	case formInt, formFloat:
		return json.Number(*n.deflt)
	case formBool:
		return *n.deflt == "true"
	}
	return n.defltDoc
}

// exampleJSON is the example as JSON where the field takes more than a word.
func (n *node) exampleJSON() any {
	switch n.form {
	case formInt, formFloat:
		if _, err := strconv.ParseFloat(n.example, 64); err == nil {
			return json.Number(n.example)
		}
	case formList, formMap, formObject, formFree, formCustomJSON:
		var doc any
		if json.Unmarshal([]byte(n.example), &doc) == nil {
			return doc
		}
	}
	return n.example
}
