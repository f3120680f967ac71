package event

// The machine words of EnvelopeError.Reason. They are part of the answers that
// senders and operators see, so they only ever grow in number.
const (
	// ReasonInvalidUTF8: the body is not valid UTF-8.
	ReasonInvalidUTF8 = "invalid_utf8"
	// ReasonInvalidJSON: the body is not exactly one JSON value.
	ReasonInvalidJSON = "invalid_json"
	// ReasonTooDeep: objects and arrays are nested more than 100 levels deep.
	ReasonTooDeep = "too_deep"
	// ReasonNotAnObject: the body is JSON, but no object.
	ReasonNotAnObject = "not_an_object"
	// ReasonDuplicateField: a member name occurs twice in the envelope.
	ReasonDuplicateField = "duplicate_field"
	// ReasonMissingField: a required member is absent, null or empty.
	ReasonMissingField = "missing_field"
	// ReasonWrongType: a member has another JSON type than the envelope says.
	ReasonWrongType = "wrong_type"
	// ReasonInvalidValue: a member has the right type, but its value cannot be
	// used: too long, with control characters, no time, not one of the choices.
	ReasonInvalidValue = "invalid_value"
)

// EnvelopeError tells why a body is not an envelope. Neither its fields nor its
// text contain anything of the body's values, so it may be logged and sent back.
type EnvelopeError struct {
	Reason string // one of the Reason constants
	Field  string // the envelope's member; empty when none of the known ones is at fault
	Detail string // for people; may be empty
}

// Error returns the reason for people.
func (e *EnvelopeError) Error() string {
	s := "decoding the envelope: " + e.Reason
	if e.Field != "" {
		s += " in " + e.Field
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// DataError tells why an event's data cannot be used as its type's data: the
// event is poisonous, and costs only itself. The offending value is not in it.
type DataError struct {
	// Field is the dotted path of the member within data, made of names that
	// the catalog knows; empty for the data as a whole.
	Field string
	Want  string // what the field must hold
	Got   string // what kind of thing it holds
}

// Error returns the reason for people.
func (e *DataError) Error() string {
	where := "the event's data"
	if e.Field != "" {
		where = "field " + e.Field + " of " + where
	}
	return "reading " + where + ": want " + e.Want + ", got " + e.Got
}
