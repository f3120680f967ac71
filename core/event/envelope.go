package event

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// maxString bounds, in bytes, the strings that become keys and indexed columns.
// Postgres refuses index entries of about 2,700 bytes, and that refusal would
// come in the middle of a batch.
const maxString = 512

// DecodeBody decodes a body in the envelope of its channel, as the decoder of
// that channel does.
func DecodeBody(channel Channel, body []byte) (*Event, error) {
	switch channel {
	case ChannelWebhook:
		return DecodeWebhook(body)
	case ChannelSystem:
		return DecodeSystem(body)
	case ChannelPubSub:
		return DecodePubSub(body)
	}
	return nil, fmt.Errorf("unknown channel %q", channel)
}

// DecodeWebhook decodes the body of an application webhook:
// {id, type, timestamp, tenant_id, application_id, data}.
//
// Like the other two decoders it fills ID, Type, Time, TenantID, ApplicationID,
// Data, Channel and SystemForm and leaves the rest to the caller; Data shares
// memory with the body. Errors are *EnvelopeError. The envelope is taken
// strictly (valid UTF-8, one object, case-sensitive names, no duplicates, at
// most 100 levels); members that it does not know are ignored, and so is
// everything inside data, which Decode and the Event's methods check.
//
// An absent, null or empty tenant_id is taken from data.tenant_id, if that is a
// usable id.
func DecodeWebhook(body []byte) (*Event, error) {
	env := envelope{names: [members]string{
		memberID: "id", memberType: "type", memberTime: "timestamp", memberData: "data",
		memberTenant: "tenant_id", memberApplication: "application_id",
	}}
	return env.decode(body, ChannelWebhook)
}

// DecodeSystem decodes the body of a system webhook: {event, timestamp, data}.
// The envelope has no id: ID is "sys_" and the SHA-256 of the raw body in
// lower-case hexadecimal, so that byte-identical redeliveries collapse.
// TenantID and ApplicationID are those in data, if they are usable ids.
func DecodeSystem(body []byte) (*Event, error) {
	env := envelope{names: [members]string{
		memberType: "event", memberTime: "timestamp", memberData: "data",
	}}
	return env.decode(body, ChannelSystem)
}

// DecodePubSub decodes what a Pub/Sub message carries, after base64:
// {id, source, event_type, event_source, timestamp, tenant_id, application_id,
// data}. The source must be "authvital" and the event_source "sync_event" or
// "system_webhook". TenantID falls back to data.tenant_id as in DecodeWebhook;
// for "system_webhook" ApplicationID falls back to data.application_id as in
// DecodeSystem.
func DecodePubSub(envelopeJSON []byte) (*Event, error) {
	env := envelope{names: [members]string{
		memberID: "id", memberType: "event_type", memberTime: "timestamp", memberData: "data",
		memberTenant: "tenant_id", memberApplication: "application_id",
		memberSource: "source", memberEventSource: "event_source",
	}}
	return env.decode(envelopeJSON, ChannelPubSub)
}

// The members that envelopes are made of, whatever their names on a channel.
const (
	memberID = iota
	memberType
	memberTime
	memberData
	memberTenant
	memberApplication
	memberSource
	memberEventSource
	members
)

// envelope is the decoding of one body: what its members are called, and, after
// the scan, where they are.
type envelope struct {
	names  [members]string // empty: the channel has no such member
	values [members][]byte // as in the body; nil: absent

	// Members of data, found in the same pass.
	dataTenant, dataApplication []byte
}

func (env *envelope) decode(body []byte, channel Channel) (*Event, error) {
	if err := env.scan(body); err != nil {
		return nil, err
	}
	ev := &Event{Channel: channel, SystemForm: channel == ChannelSystem}
	var err error
	if channel == ChannelPubSub {
		if ev.SystemForm, err = env.pubSubForm(); err != nil {
			return nil, err
		}
	}
	if channel == ChannelSystem {
		sum := sha256.Sum256(body)
		ev.ID = "sys_" + hex.EncodeToString(sum[:])
	} else if ev.ID, err = env.required(memberID); err != nil {
		return nil, err
	}
	if ev.Type, err = env.required(memberType); err != nil {
		return nil, err
	}
	if err := env.time(ev); err != nil {
		return nil, err
	}
	if ev.TenantID, err = env.optional(memberTenant); err != nil {
		return nil, err
	}
	if ev.TenantID == "" {
		ev.TenantID = usableID(env.dataTenant)
	}
	if ev.ApplicationID, err = env.optional(memberApplication); err != nil {
		return nil, err
	}
	if ev.ApplicationID == "" && ev.SystemForm {
		ev.ApplicationID = usableID(env.dataApplication)
	}
	data := env.values[memberData]
	if len(data) == 0 {
		return nil, env.missing(memberData)
	}
	if data[0] != '{' {
		return nil, env.wrong(memberData, ReasonWrongType, "want an object, got "+kindOf(data))
	}
	ev.Data = json.RawMessage(data)
	return ev, nil
}

// scan checks the whole body and finds the members.
func (env *envelope) scan(body []byte) error {
	if !utf8.Valid(body) {
		return &EnvelopeError{Reason: ReasonInvalidUTF8}
	}
	s := scanner{b: body}
	s.space()
	if s.peek() != '{' {
		if s.skip(1) == nil && s.end() {
			return &EnvelopeError{Reason: ReasonNotAnObject}
		}
		return &EnvelopeError{Reason: ReasonInvalidJSON, Detail: "the body must be one JSON object"}
	}
	if err := env.object(&s); err != nil {
		return scanError(&s, err)
	}
	if !s.end() {
		return &EnvelopeError{Reason: ReasonInvalidJSON, Detail: "the object is followed by more at byte " + strconv.Itoa(s.pos)}
	}
	return nil
}

func (env *envelope) object(s *scanner) error {
	var seen nameSet
	if err := s.enter(); err != nil {
		return err
	}
	for first := true; ; first = false {
		literal, more, err := s.member(first)
		if err != nil || !more {
			return err
		}
		name, ok := literal.bytes()
		if !ok {
			return &EnvelopeError{Reason: ReasonInvalidValue, Detail: "a member name holds half of a surrogate pair"}
		}
		m := env.lookup(name)
		if !seen.add(name) {
			field := ""
			if m >= 0 {
				field = env.names[m]
			}
			return &EnvelopeError{Reason: ReasonDuplicateField, Field: field}
		}
		start := s.pos
		if m == memberData && s.peek() == '{' {
			err = env.data(s)
		} else {
			err = s.skip(2)
		}
		if err != nil {
			return err
		}
		if m >= 0 {
			env.values[m] = s.b[start:s.pos:s.pos]
		}
	}
}

// data skips the data object and notes the ids that may complete the envelope.
// Of duplicates the first counts; Decode refuses such data.
func (env *envelope) data(s *scanner) error {
	s.pos++
	for first := true; ; first = false {
		name, more, err := s.member(first)
		if err != nil || !more {
			return err
		}
		start := s.pos
		if err := s.skip(3); err != nil {
			return err
		}
		switch value := s.b[start:s.pos]; {
		case env.dataTenant == nil && name.is("tenant_id"):
			env.dataTenant = value
		case env.dataApplication == nil && name.is("application_id"):
			env.dataApplication = value
		}
	}
}

// lookup returns the member that has the name, -1 if there is none.
func (env *envelope) lookup(name []byte) int {
	if len(name) == 0 {
		return -1
	}
	for m := range env.names {
		if env.names[m] == string(name) {
			return m
		}
	}
	return -1
}

// pubSubForm tells whether the envelope names the system dispatcher.
func (env *envelope) pubSubForm() (bool, error) {
	source, err := env.required(memberSource)
	if err != nil {
		return false, err
	}
	if source != "authvital" {
		return false, env.wrong(memberSource, ReasonInvalidValue, `want "authvital"`)
	}
	eventSource, err := env.required(memberEventSource)
	if err != nil {
		return false, err
	}
	switch eventSource {
	case "sync_event":
		return false, nil
	case "system_webhook":
		return true, nil
	}
	return false, env.wrong(memberEventSource, ReasonInvalidValue, `want "sync_event" or "system_webhook"`)
}

// required returns a string that must be there.
func (env *envelope) required(m int) (string, error) {
	s, err := env.optional(m)
	if err == nil && s == "" {
		err = env.missing(m)
	}
	return s, err
}

// optional returns a string, empty when the member is absent or null.
func (env *envelope) optional(m int) (string, error) {
	raw := env.values[m]
	if len(raw) == 0 || raw[0] == 'n' {
		return "", nil
	}
	if raw[0] != '"' {
		return "", env.wrong(m, ReasonWrongType, "want a string, got "+kindOf(raw))
	}
	b, ok := literal(raw).bytes()
	if !ok {
		return "", env.wrong(m, ReasonInvalidValue, "half of a surrogate pair stands alone")
	}
	value := string(b)
	if problem := keyProblem(value); problem != "" {
		return "", env.wrong(m, ReasonInvalidValue, problem)
	}
	return value, nil
}

func (env *envelope) time(ev *Event) error {
	raw := env.values[memberTime]
	if len(raw) == 0 || raw[0] == 'n' {
		return env.missing(memberTime)
	}
	if raw[0] != '"' {
		return env.wrong(memberTime, ReasonWrongType, "want a string, got "+kindOf(raw))
	}
	if len(raw) == len(`""`) {
		return env.missing(memberTime)
	}
	b, _ := literal(raw).bytes() // nothing, and so no time, if it has no UTF-8 form
	t, ok := parseTime(b)
	if !ok || t.Year() < 1970 {
		return env.wrong(memberTime, ReasonInvalidValue, "want an RFC 3339 time with a zone, in the years 1970 to 9999")
	}
	ev.Time = t
	return nil
}

func (env *envelope) missing(m int) error {
	return &EnvelopeError{Reason: ReasonMissingField, Field: env.names[m]}
}

func (env *envelope) wrong(m int, reason, detail string) error {
	return &EnvelopeError{Reason: reason, Field: env.names[m], Detail: detail}
}

// scanError turns what stopped the scanner into an EnvelopeError.
func scanError(s *scanner, err error) error {
	at := "at byte " + strconv.Itoa(s.pos)
	switch {
	case errors.Is(err, errDepth):
		return &EnvelopeError{Reason: ReasonTooDeep, Detail: "more than " + strconv.Itoa(maxDepth) + " levels " + at}
	case errors.Is(err, errSyntax):
		return &EnvelopeError{Reason: ReasonInvalidJSON, Detail: at}
	}
	return err
}

// literal makes a text of a whole string token that the scanner has accepted.
func literal(raw []byte) text {
	t := text{raw: raw[1 : len(raw)-1]}
	for _, c := range t.raw {
		if c == '\\' {
			t.escaped = true
			break
		}
	}
	return t
}

// is tells whether the literal stands for s.
func (t text) is(s string) bool {
	if !t.escaped {
		return string(t.raw) == s
	}
	b, ok := t.bytes()
	return ok && string(b) == s
}

// usableID returns the id that a raw JSON value holds, or nothing if the value
// could not stand in the envelope.
func usableID(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	b, ok := literal(raw).bytes()
	if value := string(b); ok && keyProblem(value) == "" && utf8.ValidString(value) {
		return value
	}
	return ""
}

// keyProblem tells what forbids a string as a key, nothing if it is fine.
func keyProblem(s string) string {
	if len(s) > maxString {
		return "longer than " + strconv.Itoa(maxString) + " bytes"
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return "a control character"
		}
	}
	return ""
}

// kindOf names the JSON type of a raw value.
func kindOf(raw []byte) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
