package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Payload is the typed data of one family of events: the union of the forms in
// which the family's types are sent. A field that the event did not carry is
// absent (Opt), nil or empty.
type Payload interface {
	SubjectData | MemberData | AppAccessData | InviteData | LicenseData |
		TenantData | TenantAppData | ApplicationData | SSOProviderData
}

// Decode reads the data of an event. Raw fields and free-form maps share memory
// with it.
//
// Member names are case-sensitive, unknown ones are ignored. Errors are
// *DataError: data that is no JSON object, a member that occurs twice, a known
// field of another JSON type, a number that is no 64-bit integer, a time that
// is no RFC 3339 time, an id or a looked-up field (email, slug, client_id) of
// more than 512 bytes or with control characters, a missing id that only the
// data can carry, and, anywhere in a known or free-form field, what a database
// cannot hold: the character U+0000, half a surrogate pair, a number with an
// exponent beyond ±9999. Empty strings are values; only a required id must not
// be empty. A list that is null is an empty list.
//
// The Event's methods (SubjectData, TenantData, …) do the same and also take
// from the envelope what belongs there; prefer them where there is an Event.
func Decode[T Payload](data json.RawMessage) (T, error) {
	var v T
	r := any(&v).(payloadRecord)
	err := readRecord(r, data)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

// record is a struct that is read from a JSON object.
type record interface {
	// slot returns the field that a member of this name fills, nil for a
	// member that is not known.
	slot(name []byte) slot
}

// payloadRecord is a record with fields that must be there.
type payloadRecord interface {
	record
	check() error
}

// slot is a field that a raw JSON value can be put into. The Field of the error
// is relative to the slot.
type slot interface {
	read(raw []byte) *DataError
}

// readRecord fills r from a JSON object. It is a function over two small
// methods and not reflection because it runs once per event on the way into the
// mirror.
func readRecord(r record, raw []byte) error {
	notObject := func(got string) error { return &DataError{Want: "a JSON object", Got: got} }
	if !utf8.Valid(raw) {
		return notObject("bytes that are not UTF-8")
	}
	s := scanner{b: raw}
	s.space()
	if s.enter() != nil {
		return notObject(kindOf(s.b[s.pos:]))
	}
	var seen nameSet
	for first := true; ; first = false {
		literal, more, err := s.member(first)
		if err != nil {
			return notObject("broken JSON")
		}
		if !more {
			break
		}
		start := s.pos
		if err := s.skip(2); err != nil {
			if errors.Is(err, errDepth) {
				return notObject("one that is nested too deeply")
			}
			return notObject("broken JSON")
		}
		name, ok := literal.bytes()
		if !ok {
			continue // such a name cannot be one of ours
		}
		field := r.slot(name)
		if !seen.add(name) {
			e := &DataError{Want: "each member once", Got: "a member twice"}
			if field != nil {
				e.Field = string(name)
			}
			return e
		}
		if field == nil {
			continue
		}
		if e := field.read(raw[start:s.pos:s.pos]); e != nil {
			e.Field = join(string(name), e.Field)
			return e
		}
	}
	if !s.end() {
		return notObject("more behind the object")
	}
	return nil
}

func join(field, below string) string {
	if below == "" {
		return field
	}
	return field + "." + below
}

// idField is an id that must be there: its name on the wire and what was found.
type idField struct {
	name  string
	value Opt[string]
}

// need returns an error for the first of the ids that is missing or empty.
func need(ids ...idField) error {
	for _, i := range ids {
		got := "nothing"
		switch {
		case i.value.Null:
			got = "null"
		case i.value.Value != "":
			continue
		case i.value.Set:
			got = "an empty string"
		}
		return &DataError{Field: i.name, Want: "an id", Got: got}
	}
	return nil
}

// payload decodes the event's data as that of a family.
func payload[T Payload](e *Event, family Family) (T, error) {
	if f, ok := familyOf(e.Type); !ok || f != family {
		var zero T
		return zero, fmt.Errorf("reading %s data: the event's type %q is not of that family", family, e.Type)
	}
	return Decode[T](e.Data)
}

// SubjectData returns the data of a subject.* event. sub is never empty.
func (e *Event) SubjectData() (SubjectData, error) {
	return payload[SubjectData](e, FamilySubject)
}

// MemberData returns the data of a member.* event. membership_id and sub are
// never empty.
func (e *Event) MemberData() (MemberData, error) {
	return payload[MemberData](e, FamilyMember)
}

// AppAccessData returns the data of an app_access.* event. sub is never empty,
// and neither is the event's ApplicationID, which says what the access is to.
func (e *Event) AppAccessData() (AppAccessData, error) {
	d, err := payload[AppAccessData](e, FamilyAppAccess)
	if err == nil && e.ApplicationID == "" {
		return AppAccessData{}, &DataError{Field: "application_id", Want: "an id in the envelope", Got: "nothing"}
	}
	return d, err
}

// InviteData returns the data of an invite.* event. invite_id is never empty.
func (e *Event) InviteData() (InviteData, error) {
	return payload[InviteData](e, FamilyInvite)
}

// LicenseData returns the data of a license.* event. assignment_id and sub are
// never empty.
func (e *Event) LicenseData() (LicenseData, error) {
	return payload[LicenseData](e, FamilyLicense)
}

// TenantData returns the data of tenant.created, .updated, .deleted and
// .suspended. tenant_id is the envelope's when the data has none, and never
// empty.
func (e *Event) TenantData() (TenantData, error) {
	d, err := payload[TenantData](e, FamilyTenant)
	if err != nil {
		return TenantData{}, err
	}
	d.TenantID = orEnvelope(d.TenantID, e.TenantID)
	if err := need(idField{"tenant_id", d.TenantID}); err != nil {
		return TenantData{}, err
	}
	return d, nil
}

// TenantAppData returns the data of a tenant.app.* event. tenant_id and
// application_id are the envelope's when the data has none, and never empty;
// neither is user_id, or, in the subscription form of tenant.app.granted,
// subscription_id.
func (e *Event) TenantAppData() (TenantAppData, error) {
	d, err := payload[TenantAppData](e, FamilyTenantApp)
	if err != nil {
		return TenantAppData{}, err
	}
	d.TenantID = orEnvelope(d.TenantID, e.TenantID)
	d.ApplicationID = orEnvelope(d.ApplicationID, e.ApplicationID)
	whose := idField{"user_id", d.UserID}
	if e.Type == TypeTenantAppGranted && d.IsSubscription() {
		whose = idField{"subscription_id", d.SubscriptionID}
	}
	if err := need(idField{"tenant_id", d.TenantID}, idField{"application_id", d.ApplicationID}, whose); err != nil {
		return TenantAppData{}, err
	}
	return d, nil
}

// ApplicationData returns the data of an application.* event. application_id is
// never empty; it is never the envelope's, which may name the application that
// the webhook belongs to.
func (e *Event) ApplicationData() (ApplicationData, error) {
	return payload[ApplicationData](e, FamilyApplication)
}

// SSOProviderData returns the data of an sso.* event. provider_id is never
// empty. tenant_id is the envelope's when the data has none, as in Subject; a
// provider without either is global.
func (e *Event) SSOProviderData() (SSOProviderData, error) {
	d, err := payload[SSOProviderData](e, FamilySSO)
	if err == nil {
		d.TenantID = orEnvelope(d.TenantID, e.TenantID)
	}
	return d, err
}

// orEnvelope returns the data's id, or else the envelope's if that has one.
func orEnvelope(inData Opt[string], inEnvelope string) Opt[string] {
	if inData.Value == "" && inEnvelope != "" {
		return Some(inEnvelope)
	}
	return inData
}
