package plugin

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"strings"
	"time"
)

// Event is one thing that happened at the identity provider.
//
// Its JSON form holds what the event says and nothing about this delivery
// (attempt, replay, entities), so it is the same bytes on every redelivery.
type Event struct {
	// ID is unique within Source.
	ID string `json:"id"`
	// Type is, for example, "tenant.created".
	Type string `json:"type"`
	// Key is what order is kept within, and what state is remembered for. Its
	// form depends on Info.Order; treat it as opaque.
	Key string `json:"key"`
	// Subject is what the event is about: "identity:usr_1",
	// "organization:tnt_1", "application:app_1".
	Subject string `json:"subject"`
	// TenantID is the tenant that the event names; empty: it names none.
	TenantID string `json:"tenant_id,omitempty"`
	// ApplicationID is the application that the event names; empty: it names
	// none.
	ApplicationID string `json:"application_id,omitempty"`
	// Source names the source in the hub's configuration.
	Source string `json:"source"`
	// Channel is "webhook", "system" or "pubsub".
	Channel string `json:"channel,omitempty"`
	// Position is the place in the hub's journal, from 1. A synthetic event of
	// a snapshot shares the position at which the snapshot was taken.
	Position int64 `json:"position"`
	// Revision grows with the provider's clock. What an event of an older
	// revision says about a subject must not undo what a newer one said.
	Revision int64 `json:"revision"`
	// OccurredAt is the provider's clock, UTC, in microseconds.
	OccurredAt time.Time `json:"occurred_at"`
	// Attempt counts deliveries of this event from 1; those that ended with
	// RetryAfter or Again are not counted.
	Attempt int `json:"-"`
	// Replay tells that an operator asked for the event to be sent again.
	Replay bool `json:"-"`
	// Fence grows whenever another hub takes over the deliveries of the event's
	// key. An outside that knows fencing tokens can be told it with every change,
	// and refuse what comes with an older one: the last word of a hub that was cut
	// off. It is 0 where no hub is.
	Fence int64 `json:"-"`
	// Superseded tells that newer events had already overruled all that this
	// one says.
	Superseded bool `json:"superseded,omitempty"`
	// Changes are the fields that the event changed in the hub's mirror.
	Changes []Change `json:"changes,omitempty"`
	// ChangesOmitted counts changes beyond those that the hub keeps.
	ChangesOmitted int `json:"changes_omitted,omitempty"`
	// Raw is the event's data, a JSON object, as the provider sent it. Use Data
	// to read it. It must not be modified.
	Raw json.RawMessage `json:"data"`
	// Body is the whole body that the provider sent and signed, byte for byte,
	// for connectors with Info.Body. It is empty for what nobody sent. It must
	// not be modified.
	Body []byte `json:"-"`
	// Evidence says who vouches for the event.
	Evidence Evidence `json:"evidence"`
	// Entities are the mirror's rows that came with the event. Use Data to read
	// them.
	Entities []Entity `json:"-"`
}

// Change is one field of one mirror row that an event changed.
type Change struct {
	Entity string `json:"entity"` // a kind, as in Entity
	ID     string `json:"id"`
	// Field is a column's name. "settings.x" reaches into an organization's
	// settings; "exists" stands for the row itself.
	Field  string          `json:"field"`
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}

// Evidence is what proves that the provider itself said it. It is empty for
// channels that carry no signature.
type Evidence struct {
	KeyID string `json:"key_id,omitempty"`
	// Signature is RSASSA-PKCS1-v1_5 with SHA-256 over the signed bytes.
	Signature []byte `json:"signature,omitempty"`
	// SignedSHA256 is the SHA-256 of the signed bytes.
	SignedSHA256 []byte `json:"signed_sha256,omitempty"`
}

// Entity is a row of the mirror as it stood when the event was handed out.
type Entity struct {
	// Kind is "identity", "organization", "application", "sso_provider",
	// "membership", "app_access", "license", "subscription" or "invitation".
	Kind string
	ID   string
	JSON json.RawMessage // empty: there is no such row (any more)
}

// Changed returns what the event did to a field of its own subject, or, if the
// subject has no such change, the first change of that field in another row.
func (ev Event) Changed(field string) (Change, bool) {
	var other *Change
	for i := range ev.Changes {
		c := &ev.Changes[i]
		if c.Field != field {
			continue
		}
		if c.Entity+":"+c.ID == ev.Subject {
			return *c, true
		}
		if other == nil {
			other = c
		}
	}
	if other == nil {
		return Change{}, false
	}
	return *other, true
}

// Once returns an idempotency key for one effect of this event: the same on
// every redelivery and in every process, different for another effect or
// another event. It is 35 characters, letters and digits with one underscore,
// and holds nothing personal. Two connectors get the same key for the same
// effect name, so name the effect after what is done and where.
func (ev Event) Once(effect string) string {
	h := sha256.New()
	for _, part := range []string{ev.Source, ev.ID, effect} {
		// The length in front keeps ("a","bc") and ("ab","c") apart.
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	sum := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:20])
	return "av_" + strings.ToLower(sum)
}
