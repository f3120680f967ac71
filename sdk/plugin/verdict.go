package plugin

import (
	"errors"
	"time"
)

type verdictKind int

const (
	verdictApplied verdictKind = iota
	verdictSkipped
	verdictAgain
	verdictRetry
	verdictReject
	verdictHalt
)

// verdictError is a verdict on its way out of Deliver. Its text is the author's
// own, so that wrapping reads well.
type verdictError struct {
	kind  verdictKind
	text  string
	after time.Duration
	cause error
}

func (e *verdictError) Error() string { return e.text }
func (e *verdictError) Unwrap() error { return e.cause }

func newVerdict(kind verdictKind, cause error, otherwise string) *verdictError {
	text := otherwise
	if cause != nil {
		text = cause.Error()
	}
	return &verdictError{kind: kind, text: text, cause: cause}
}

// Skip settles the event as one that this connector has nothing to do for. The
// reason is kept for operators.
func Skip(reason string) error {
	return &verdictError{kind: verdictSkipped, text: reason}
}

// Reject gives up this event: it becomes a dead letter at once, and the key
// goes on with the next one. It is for events that trying again cannot help.
func Reject(err error) error {
	return newVerdict(verdictReject, err, "rejected without a reason")
}

// RetryAfter holds the key and delivers the event again after d, which the
// outside world has asked for; the attempt is not counted, however often it
// happens. If d is not positive, it is an ordinary error: the hub chooses the
// time and counts the attempt.
func RetryAfter(d time.Duration, err error) error {
	v := newVerdict(verdictRetry, err, "asked to wait")
	v.after = d
	return v
}

// Halt stops the whole connector until its configuration changes: the key was
// revoked, the account is closed. No event is lost, and none is tried.
func Halt(err error) error {
	return newVerdict(verdictHalt, err, "halted without a reason")
}

// Again saves the state now and then delivers the same event once more, at
// once, without counting an attempt. It is the write-ahead step before an
// effect that has no idempotency key: note in the state what is about to be
// done, return Again, and on the next call look whether it was done.
func Again() error {
	return &verdictError{kind: verdictAgain, text: "again, with the state saved"}
}

// outcome reads the verdict of an error that Deliver returned. When an error
// wraps several, the outermost one counts.
func outcome(err error) (kind verdictKind, after time.Duration) {
	if err == nil {
		return verdictApplied, 0
	}
	var v *verdictError
	if errors.As(err, &v) {
		return v.kind, v.after
	}
	return verdictRetry, 0
}
