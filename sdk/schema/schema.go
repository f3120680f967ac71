package schema

import (
	"fmt"
	"reflect"
)

// Schema is what [Of] found out about a struct type. It is immutable and safe
// for concurrent use.
type Schema struct {
	root *node
}

// Field describes one key of the documents that a [Schema] accepts.
type Field struct {
	// Path is where the key stands: "server.listen". The elements of a list are
	// written "sources[].name", those of a map "plans.*.price".
	Path string
	// Type says in words what the key takes: "text", "duration", "list of text".
	Type string
	// Default and Example are the tags as they were written.
	Default, Example string
	Doc              string
	// Min, Max and Pattern are the tags as they were written.
	Min, Max, Pattern string
	Enum              []string
	Required, Secret  bool
	// Scalar is true when the key takes one text, number, bool, duration or size.
	Scalar bool
}

// Of reads the tags of T, which must be a struct. The error tells the author
// of T about every mistake in them, one per line; it does not depend on any
// document, so a program meets it at its first start or never.
func Of[T any]() (*Schema, error) {
	root, err := plan(reflect.TypeFor[T]())
	if err != nil {
		return nil, fmt.Errorf("reading the tags of %s: %w", reflect.TypeFor[T](), err)
	}
	return &Schema{root: root}, nil
}
