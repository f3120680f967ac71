package entry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Fingerprint is the SHA-256, in hex, of what an event's entry says apart from
// its place and from what an erasure changes: the same event has the same one,
// also when a person was erased in between.
func (e *Entry) Fingerprint() (string, error) {
	out := *e
	out.Kind, out.Seq, out.Superseded, out.Note = Event, 0, false, nil
	out.Changes = slices.Clone(e.Changes)
	for i := range out.Changes {
		out.Changes[i].Old, out.Changes[i].New = masked(out.Changes[i].Old), masked(out.Changes[i].New)
	}
	if e.Target != nil {
		target := *e.Target
		target.Name = masked(target.Name)
		out.Target = &target
	}
	encoded, err := out.Encode()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:]), nil
}

// masked is a sealed value without its commitment, and any other as it is.
func masked(value json.RawMessage) json.RawMessage {
	if len(value) == 0 || value[0] != '{' {
		return value
	}
	var s Sealed
	if json.Unmarshal(value, &s) != nil || s.Owner == "" || s.Commit == "" {
		return value
	}
	s.Commit = ""
	out, err := encode(s)
	if err != nil {
		return value
	}
	return out
}

// Same tells whether two entries tell of one and the same event. What the
// provider signed decides, if both have its signature; else all that is not
// personal does.
func Same(a, b *Entry) (bool, error) {
	if a.Evidence != nil && b.Evidence != nil {
		return a.Evidence.SignedSHA256 == b.Evidence.SignedSHA256, nil
	}
	one, err := a.Fingerprint()
	if err != nil {
		return false, err
	}
	other, err := b.Fingerprint()
	return one == other, err
}
