// Package event holds the one type that an incoming event becomes, whichever
// channel it came by, the catalog of event types with their typed data, and the
// decoders of the three envelopes in which AuthVital sends them.
//
// It imports nothing else of avhub: every other room speaks this language.
package event

import (
	"encoding/json"
	"time"
)

// Channel is the way by which an event reached the hub. It decides the envelope
// and what the signature covers.
type Channel string

const (
	// ChannelWebhook is an application's webhook ("sync event"). Its signature
	// covers the timestamp header, a dot and the raw body.
	ChannelWebhook Channel = "webhook"
	// ChannelSystem is the provider's global system webhook. Its signature
	// covers the raw body alone, and its envelope has no id.
	ChannelSystem Channel = "system"
	// ChannelPubSub is Google Pub/Sub. There is no signature in the event.
	ChannelPubSub Channel = "pubsub"
)

// Event is one verified event. The zero value of an optional field means that
// the envelope did not carry it.
type Event struct {
	// Position is the event's place in the journal, from 1; 0 before it is
	// journaled.
	Position int64

	Source  string // name of the source in the configuration
	Channel Channel
	ID      string // unique within Source
	Type    string
	// Time is the provider's clock, UTC, cut to microseconds: what both
	// databases can hold.
	Time          time.Time
	TenantID      string
	ApplicationID string
	// Data is the envelope's data, a JSON object, as it was sent.
	Data json.RawMessage
	// SystemForm tells that the sender's system dispatcher made the event: the
	// system webhook, or Pub/Sub with event_source "system_webhook". Types that
	// exist in two forms have their first form there.
	SystemForm bool

	Evidence   Evidence
	ReceivedAt time.Time // the hub's clock

	// What the mirror found out. Set when the event is journaled.

	// Changes are the mirror's fields that this event changed.
	Changes []Change
	// ChangesOmitted counts changes beyond the limit that is kept per event.
	ChangesOmitted int
	// Superseded tells that newer events had overruled all that this one says.
	Superseded bool
	// Failed is the reason why the mirror could not apply the event; empty if it
	// could.
	Failed string
}

// Evidence is what vouches for an event: the bytes as received and the
// provider's signature over them.
type Evidence struct {
	KeyID     string
	Signature []byte
	// SignedTimestamp is the timestamp header of ChannelWebhook, which is part
	// of the signed bytes; empty elsewhere.
	SignedTimestamp string
	Body            []byte // raw, exactly as received
}

// SignedBytes returns the bytes that Signature covers.
func (ev Evidence) SignedBytes() []byte {
	if ev.SignedTimestamp == "" {
		return ev.Body
	}
	b := make([]byte, 0, len(ev.SignedTimestamp)+1+len(ev.Body))
	b = append(b, ev.SignedTimestamp...)
	b = append(b, '.')
	return append(b, ev.Body...)
}

// Change is one field of one mirror row that an event changed. Field is the
// column's name; "settings.x" reaches into an organization's settings; "exists"
// stands for the row itself (false → true: created, true → false: deleted).
type Change struct {
	Entity string          `json:"entity"`
	ID     string          `json:"id"`
	Field  string          `json:"field"`
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}
