// Package entry makes one entry of the trail out of one event: who did what to
// what, when, with old and new values. It is a pure function of the event and of
// the keys that seal what is personal, so an event that is delivered again
// yields the same bytes.
package entry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Version is what Entry.V says. Readers refuse versions that they do not know.
const Version = 1

// Kinds of entries. All but Event are the trail's own: they tell what was done
// to the trail or with it.
const (
	Event = "event"
	// Conflict: an event came again under an id that the trail knows, and says
	// something else.
	Conflict = "conflict"
	// Opened: a connector began to write, under the configuration that is told.
	Opened = "opened"
	// Erased: a person's keys were destroyed.
	Erased = "erased"
	// Held and Released: nobody may erase a subject, and may again.
	Held     = "held"
	Released = "released"
	// Disclosed: somebody read what is personal in plain text.
	Disclosed = "disclosed"
	// Rotated: another key signs from here on.
	Rotated = "key_rotated"
	// Heartbeat: so much there was by now; silence since the one before was
	// silence.
	Heartbeat = "heartbeat"
)

// Entry is one leaf of the trail. Its fields are written in the order in which
// they stand here.
type Entry struct {
	V    int    `json:"v"`
	Kind string `json:"kind"`
	// Source and EventID name the event; together they are unique.
	Source  string `json:"source,omitempty"`
	EventID string `json:"event_id,omitempty"`
	Type    string `json:"type,omitempty"`
	// Stream is the key within which the hub keeps order, Seq the place in it,
	// from 1 without gaps.
	Stream      string     `json:"stream,omitempty"`
	Seq         int64      `json:"seq,omitempty"`
	Tenant      string     `json:"tenant,omitempty"`
	Application string     `json:"application,omitempty"`
	OccurredAt  *time.Time `json:"occurred_at,omitempty"`
	Actor       *Actor     `json:"actor,omitempty"`
	Target      *Target    `json:"target,omitempty"`
	Changes     []Change   `json:"changes,omitempty"`
	// ChangesOmitted counts changes that the hub did not keep.
	ChangesOmitted int  `json:"changes_omitted,omitempty"`
	Superseded     bool `json:"superseded,omitempty"`
	// Evidence proves that the provider itself signed what the entry tells.
	Evidence *Evidence `json:"evidence,omitempty"`
	// Note is what an entry of the trail's own says.
	Note json.RawMessage `json:"note,omitempty"`
}

// Actor is who did it.
type Actor struct {
	ID string `json:"id"`
	// Kind is "person"; "system" for what the provider does by itself; or
	// "unknown", when the event does not tell.
	Kind string `json:"kind"`
	// AssertedBy is "event" when the event names the actor, "operator" when a
	// command was told or found out who runs it, else "none".
	AssertedBy string `json:"asserted_by"`
}

// Target is what it was done to.
type Target struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	// Name is a text, or a Sealed value for a person's.
	Name json.RawMessage `json:"name,omitempty"`
}

// Basis of a change's old value.
const (
	// FromEvent: the provider sent the old value.
	FromEvent = "event"
	// Derived: the hub's mirror held the old value.
	Derived = "derived"
	// Unknown: nobody knew it; Old is null.
	Unknown = "unknown"
)

// Change is one field that became another.
type Change struct {
	// Path is the field; of another row than the target, with "kind:id/" before
	// it.
	Path  string          `json:"path"`
	Old   json.RawMessage `json:"old"`
	New   json.RawMessage `json:"new"`
	Basis string          `json:"basis"`
}

// Evidence is the provider's signature on the bytes that it sent, as hashes.
type Evidence struct {
	KeyID           string `json:"key_id"`
	SignedSHA256    string `json:"signed_sha256"`    // hex
	SignatureSHA256 string `json:"signature_sha256"` // hex
}

// Sealed stands for a value that is personal: whoever knows the value and the
// person's key can check it, nobody else can guess it.
type Sealed struct {
	// Owner is whose key it is: a subject, or an e-mail address in disguise.
	Owner string `json:"owner"`
	// Commit is the HMAC-SHA-256 of the field and its value under the owner's
	// key, in hex; "erased" when the key was destroyed before the event came.
	Commit string `json:"sealed"`
}

// Opaque stands for a value that must not be kept, or that nobody knows to be
// harmless: equal texts stand for equal values, and that is all they tell.
type Opaque struct {
	Digest string `json:"opaque"` // hex, HMAC-SHA-256 under the trail's own key
}

// Large stands for a value that is kept beside the trail, in the vault.
type Large struct {
	SHA256 string `json:"large"` // hex, of the value's canonical bytes
	Size   int    `json:"size"`  // bytes
}

// Encode returns the entry's bytes: JSON without spaces, fields in the order of
// Entry, nothing escaped that JSON does not demand, keys of nested objects
// sorted, numbers as they were sent, times in UTC with as many digits as needed.
func (e *Entry) Encode() ([]byte, error) {
	out := *e
	out.Changes = slices.Clone(e.Changes)
	var err error
	for i := range out.Changes {
		c := &out.Changes[i]
		if c.Old, err = canonical(c.Old); err == nil {
			c.New, err = canonical(c.New)
		}
		if err != nil {
			return nil, fmt.Errorf("encode entry: value of %s: %w", c.Path, err)
		}
	}
	if e.Target != nil && len(e.Target.Name) > 0 {
		target := *e.Target
		if target.Name, err = canonical(target.Name); err != nil {
			return nil, fmt.Errorf("encode entry: name of the target: %w", err)
		}
		out.Target = &target
	}
	if len(e.Note) > 0 {
		if out.Note, err = canonical(e.Note); err != nil {
			return nil, fmt.Errorf("encode entry: note: %w", err)
		}
	}
	return encode(out)
}

// Decode reads an entry's bytes. It refuses what Encode would have written
// otherwise, so that there is one text for each entry.
func Decode(data []byte) (*Entry, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var e Entry
	if err := dec.Decode(&e); err != nil {
		return nil, fmt.Errorf("decode entry: %w", err)
	}
	if e.V != Version {
		return nil, fmt.Errorf("decode entry: version %d is not known here; use a newer program", e.V)
	}
	again, err := e.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("decode entry: it is not in its canonical form")
	}
	return &e, nil
}

// canonical is a JSON value without spaces, keys sorted, numbers as they were.
func canonical(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return json.RawMessage("null"), nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("more than one value")
	}
	return encode(v)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// text is a JSON string.
func text(s string) json.RawMessage {
	out, _ := encode(s) // a string always encodes
	return out
}
