package event

import "encoding/json"

// Opt is a field of an event's data. Absent, null and a value are three
// different statements: what was not sent must not wipe what is known, and null
// says that there is nothing. The zero value is an absent field.
type Opt[T any] struct {
	Set   bool // the member was sent
	Null  bool // it was sent as null; Value is T's zero value
	Value T
}

// Some returns a field that was sent with a value.
func Some[T any](v T) Opt[T] {
	return Opt[T]{Set: true, Value: v}
}

// Get returns the value, and whether there is one: false for absent and null.
func (o Opt[T]) Get() (T, bool) {
	return o.Value, o.Set && !o.Null
}

// Or returns the value, or the given one when the field is absent or null.
func (o Opt[T]) Or(otherwise T) T {
	if o.Set && !o.Null {
		return o.Value
	}
	return otherwise
}

// IsZero tells that the field is absent; with the option omitzero,
// encoding/json then leaves it out.
func (o Opt[T]) IsZero() bool {
	return !o.Set
}

// MarshalJSON returns the value, and null for a field that is null or absent.
func (o Opt[T]) MarshalJSON() ([]byte, error) {
	if !o.Set || o.Null {
		return []byte("null"), nil
	}
	return json.Marshal(o.Value)
}
