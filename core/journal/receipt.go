package journal

// Outcome says what the journal did with an event.
type Outcome string

const (
	// Accepted: the event is new, and durable.
	Accepted Outcome = "accepted"
	// Duplicate: the journal already held the event.
	Duplicate Outcome = "duplicate"
	// Conflict: the journal already held an event of this id with another body.
	// The first one stands; the second one is counted and reported.
	Conflict Outcome = "conflict"
)

// Receipt is the answer to an append. The event, or the one that stands in its
// place, is durable when it is given.
type Receipt struct {
	Outcome  Outcome
	Position int64 // of the event in the journal
}
