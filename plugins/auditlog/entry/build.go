package entry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/avhub/avhub/sdk/plugin"
)

// Sealer hides values. The same question always gets the same answer, or the
// trail would not recognize an event that comes again.
type Sealer interface {
	// Seal hides a field's value under the key of owner, a subject such as
	// "identity:usr_1".
	Seal(owner, field string, value json.RawMessage) (Sealed, error)
	// SealAddress hides an e-mail address under a key of its own, so that it can
	// be erased wherever it stands.
	SealAddress(field, address string) (Sealed, error)
	// Opaque hides a value under the trail's own key.
	Opaque(field string, value json.RawMessage) (Opaque, error)
}

// Build makes the entry of an event. seq is its place in its stream.
func Build(ev plugin.Event, seq int64, sealer Sealer) (*Entry, error) {
	for _, s := range []*string{&ev.ID, &ev.Type, &ev.Key, &ev.Subject, &ev.TenantID, &ev.ApplicationID, &ev.Source, &ev.Evidence.KeyID} {
		*s = strings.ToValidUTF8(*s, "\uFFFD") // else it would be read otherwise than it was written
	}
	said := read(ev)
	var err error
	occurred := ev.OccurredAt.UTC()
	e := &Entry{
		V: Version, Kind: Event, Source: ev.Source, EventID: ev.ID, Type: ev.Type,
		Stream: ev.Key, Seq: seq, Tenant: ev.TenantID, Application: ev.ApplicationID, OccurredAt: &occurred,
		Actor: &said.actor, ChangesOmitted: ev.ChangesOmitted, Superseded: ev.Superseded,
	}
	kind, id, _ := strings.Cut(ev.Subject, ":")
	e.Target = &Target{Kind: kind, ID: id}
	b := builder{ev: ev, sealer: sealer, kind: kind, id: id}
	if said.name != "" {
		if e.Target.Name, err = b.hide(kind, id, said.nameField, text(said.name)); err != nil {
			return nil, err
		}
	}
	if e.Changes, err = b.changes(said.claims); err != nil {
		return nil, err
	}
	if len(ev.Evidence.SignedSHA256) > 0 {
		signature := sha256.Sum256(ev.Evidence.Signature)
		e.Evidence = &Evidence{
			KeyID: ev.Evidence.KeyID, SignedSHA256: hex.EncodeToString(ev.Evidence.SignedSHA256),
			SignatureSHA256: hex.EncodeToString(signature[:]),
		}
	}
	return e, nil
}

// claim is a change as the event itself tells it.
type claim struct {
	row      string // "kind:id"; empty: the target
	field    string
	old, new json.RawMessage // empty: not said
}

func (c claim) path() string { return path(c.row, c.field) }

func path(row, field string) string {
	if row == "" {
		return field
	}
	return row + "/" + field
}

type builder struct {
	ev       plugin.Event
	sealer   Sealer
	kind, id string // of the target
}

// known is a change before its values are hidden.
type known struct {
	kind, id, field string
	old, new        json.RawMessage
	basis           string
}

// changes joins what the mirror saw change with what the event claims. The
// mirror is silent about an event that newer ones had overruled, and about what
// it does not keep; the event is often silent about old values.
func (b builder) changes(claims []claim) ([]Change, error) {
	all := map[string]known{}
	for _, c := range b.ev.Changes {
		row := c.Entity + ":" + c.ID
		if c.Entity == b.kind && (c.ID == b.id || b.kind == "sso_provider" && c.ID == strings.TrimPrefix(b.id, "/")) {
			row = ""
		}
		all[path(row, c.Field)] = known{c.Entity, c.ID, c.Field, c.Before, c.After, Derived}
	}
	for _, c := range claims {
		k, mirrored := all[c.path()]
		if !mirrored {
			k = known{kind: b.kind, id: b.id, field: c.field, new: c.new, basis: Unknown}
			if c.row != "" {
				k.kind, k.id, _ = strings.Cut(c.row, ":")
			}
		}
		if len(c.old) > 0 {
			k.old, k.basis = c.old, FromEvent
		}
		all[c.path()] = k
	}
	out := make([]Change, 0, len(all))
	for _, p := range slices.Sorted(maps.Keys(all)) {
		k := all[p]
		change := Change{Path: p, Basis: k.basis}
		var err error
		if change.Old, err = b.hide(k.kind, k.id, k.field, k.old); err == nil {
			change.New, err = b.hide(k.kind, k.id, k.field, k.new)
		}
		if err != nil {
			return nil, fmt.Errorf("entry of event %s: value of %s: %w", b.ev.ID, p, err)
		}
		out = append(out, change)
	}
	return out, nil
}

// hide returns a value as it may stand in the trail. Null and empty texts tell
// that there is nothing to hide.
func (b builder) hide(kind, id, field string, value json.RawMessage) (json.RawMessage, error) {
	value, err := canonical(value)
	if err != nil {
		return nil, err
	}
	if string(value) == "null" || string(value) == `""` {
		return value, nil
	}
	var hidden any
	switch class := classOf(kind, field); class {
	case plain:
		return value, nil
	case personal:
		hidden, err = b.sealer.Seal(kind+":"+id, field, value)
	case address:
		var address string
		if json.Unmarshal(value, &address) != nil {
			hidden, err = b.sealer.Opaque(kind+"."+field, value)
			break
		}
		hidden, err = b.sealer.SealAddress(field, address)
	default:
		hidden, err = b.sealer.Opaque(kind+"."+field, value)
	}
	if err != nil {
		return nil, err
	}
	return encode(hidden)
}

const (
	// Limit is how large an entry may be; beyond it, its largest values go into
	// the vault.
	Limit = 16 << 10
	// inline values are so small that replacing them gains nothing.
	inline = 128
)

// Fit encodes the entry within Limit: its largest values are replaced by their
// hashes and returned, by hash in hex, to be kept beside the trail.
func (e *Entry) Fit() (encoded []byte, vault map[string][]byte, err error) {
	if encoded, err = e.Encode(); err != nil || len(encoded) <= Limit {
		return encoded, nil, err
	}
	vault = map[string][]byte{}
	var values []*json.RawMessage
	for i := range e.Changes {
		values = append(values, &e.Changes[i].Old, &e.Changes[i].New)
	}
	if e.Target != nil && len(e.Target.Name) > 0 {
		values = append(values, &e.Target.Name)
	}
	slices.SortStableFunc(values, func(a, b *json.RawMessage) int { return len(*b) - len(*a) })
	for _, value := range values {
		if len(*value) <= inline {
			break
		}
		text, err := canonical(*value)
		if err != nil {
			return nil, nil, fmt.Errorf("encode entry: %w", err)
		}
		sum := sha256.Sum256(text)
		hash := hex.EncodeToString(sum[:])
		vault[hash] = bytes.Clone(text)
		if *value, err = encode(Large{hash, len(text)}); err != nil {
			return nil, nil, err
		}
		if encoded, err = e.Encode(); err != nil || len(encoded) <= Limit {
			return encoded, vault, err
		}
	}
	// Too many small ones: the list of changes is moved as a whole.
	text, err := encode(e.Changes)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(text)
	hash := hex.EncodeToString(sum[:])
	vault[hash] = text
	all := Change{Path: "changes", Old: json.RawMessage("null"), Basis: Unknown}
	if all.New, err = encode(Large{hash, len(text)}); err != nil {
		return nil, nil, err
	}
	e.Changes = []Change{all}
	if encoded, err = e.Encode(); err != nil || len(encoded) <= Limit {
		return encoded, vault, err
	}
	return nil, nil, fmt.Errorf("%w: %d bytes without its changes; %d are allowed", ErrTooLarge, len(encoded), Limit)
}

// ErrTooLarge: an event's names alone are larger than an entry may be.
var ErrTooLarge = errors.New("the event is too large for an entry")
