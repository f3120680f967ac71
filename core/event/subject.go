package event

import "net/url"

// Subject returns the canonical key of the entity that the event is about, the
// key within which order is kept for connectors that ask for it per subject:
//
//	identity:<sub>                       subject.*, member.*, app_access.*, license.*,
//	                                     tenant.app.* in the user form
//	organization:<tenant_id>             tenant.created, .updated, .deleted, .suspended,
//	                                     tenant.app.granted in the subscription form
//	application:<application_id>         application.*
//	sso_provider:<tenant_id>/<provider>  sso.*; no tenant: the provider is global.
//	                                     Both parts are path-escaped
//	invitation:<invite_id>               invite.*, accepted or not: before somebody
//	                                     accepts there may be no sub
//	type:<type>                          unknown types, and data without a usable id
//
// The events of one person in two tenants share a subject; TenantKey keeps them
// apart.
//
// It never fails, so that a poisonous event has a key and waits in a lane like
// any other. An id is usable if it is a string of 1 to 512 bytes without
// control characters. The key is found by a scan over the data's top level, no
// typed decoding. Keys are stored beside events: what this returns for an event
// must never change.
func (e *Event) Subject() string {
	if key := e.entity(); key != "" {
		return key
	}
	return KindType + ":" + e.Type
}

// TenantKey returns the key within which order is kept for connectors that ask
// for it per tenant: "tenant:<tenant_id>" of the envelope, or Subject for an
// event without a tenant.
func (e *Event) TenantKey() string {
	if e.TenantID != "" {
		return "tenant:" + e.TenantID
	}
	return e.Subject()
}

// Revision returns Time as Unix microseconds: it grows with the provider's
// clock, and what an event of an older revision says about a subject must not
// undo a newer one. Two events can share a revision.
func (e *Event) Revision() int64 {
	return e.Time.UnixMicro()
}

// entity returns the key of the event's entity, empty if it cannot be told.
func (e *Event) entity() string {
	family, _ := familyOf(e.Type)
	switch family {
	case FamilySubject, FamilyMember, FamilyAppAccess, FamilyLicense:
		return keyOf(KindIdentity, e.dataID("sub"))
	case FamilyInvite:
		return keyOf(KindInvitation, e.dataID("invite_id"))
	case FamilyApplication:
		return keyOf(KindApplication, e.dataID("application_id"))
	case FamilyTenant:
		return keyOf(KindOrganization, e.tenant())
	case FamilyTenantApp:
		user := e.dataID("user_id")
		if user.absent && e.Type == TypeTenantAppGranted {
			return keyOf(KindOrganization, e.tenant())
		}
		return keyOf(KindIdentity, user)
	case FamilySSO:
		provider, tenant := e.dataID("provider_id"), e.tenant()
		if provider.value == "" || tenant.value == "" && !tenant.absent {
			return ""
		}
		return KindSSOProvider + ":" + url.PathEscape(tenant.value) + "/" + url.PathEscape(provider.value)
	}
	return ""
}

func keyOf(kind string, id foundID) string {
	if id.value == "" {
		return ""
	}
	return kind + ":" + id.value
}

// DataID returns the id under a name in the data's top level, by the same scan
// and the same rules as Subject; empty: there is none that is usable.
func (e *Event) DataID(name string) string { return e.dataID(name).value }

// foundID is what the data holds under an id's name.
type foundID struct {
	value  string // empty: there is no usable id
	absent bool   // not there, null or empty, as opposed to unusable
}

// tenant returns the data's tenant, or the envelope's if the data has none: the
// same choice as in TenantData.
func (e *Event) tenant() foundID {
	id := e.dataID("tenant_id")
	if id.absent && e.TenantID != "" {
		return foundID{value: e.TenantID}
	}
	return id
}

// dataID looks an id up in the data's top level. Of duplicates the first
// counts: Decode refuses such data.
func (e *Event) dataID(name string) foundID {
	s := scanner{b: e.Data}
	s.space()
	if s.enter() != nil {
		return foundID{}
	}
	for first := true; ; first = false {
		member, more, err := s.member(first)
		if err != nil {
			return foundID{}
		}
		if !more {
			return foundID{absent: true}
		}
		start := s.pos
		if s.skip(2) != nil {
			return foundID{}
		}
		if !member.is(name) {
			continue
		}
		raw := s.b[start:s.pos]
		return foundID{value: usableID(raw), absent: raw[0] == 'n' || string(raw) == `""`}
	}
}
