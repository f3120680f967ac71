package ask

import (
	"errors"
	"fmt"
)

// Reason is a stable word for what is wrong with a question.
type Reason string

// The reasons of an InputError.
const (
	UnknownResource Reason = "unknown_resource"
	UnknownFilter   Reason = "unknown_parameter"
	UnknownRelation Reason = "unknown_relation"
	BadValue        Reason = "bad_value"
)

// InputError says what is wrong with a question. Its text is for whoever asked
// and repeats no more than what they said.
type InputError struct {
	Reason Reason
	text   string
}

// Error is the text.
func (e *InputError) Error() string { return e.text }

func wrong(reason Reason, format string, args ...any) error {
	return &InputError{reason, fmt.Sprintf(format, args...)}
}

// ErrNotFound is returned for a row that the mirror does not have.
var ErrNotFound = errors.New("the mirror has no such row")

// AmbiguousError is returned by Show when several rows have the name.
type AmbiguousError struct {
	Column string // that they have it in
	Keys   []string
}

// Error says how many there are.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%d rows or more have this %s", len(e.Keys), e.Column)
}
