package isolated_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// said is an event, and what its sender knows of whom it concerns. What the
// tests expect is made of that alone.
type said struct {
	*event.Event
	tenant string // that it names
	person string // that it is about, or who accepted an invitation
	global bool   // about an application or login provider of nobody
	twoOf  bool   // envelope and data name two tenants
}

// concern returns the events that belong into a tenant's database, into which
// these facts went.
func concern(all []said, tenant string, facts ...mirror.Fact) (events []*event.Event) {
	tied := map[string]bool{}
	for _, f := range facts {
		if f.Tenant.ID == tenant {
			tied[f.Person.ID] = true
		}
	}
	for _, s := range all {
		if s.tenant == tenant && !s.twoOf && s.person != "" {
			tied[s.person] = true
		}
	}
	for _, s := range all {
		named := s.tenant == tenant && !s.twoOf
		if named || s.global || s.tenant == "" && s.person != "" && tied[s.person] {
			events = append(events, s.Event)
		}
	}
	return events
}

// world makes events of a small world in which everything collides.
type world struct {
	*rand.Rand
	t       testing.TB
	tenants []string
	next    int
}

func (w *world) one(of ...string) string { return of[w.IntN(len(of))] }

func (w *world) some(n int) []said {
	all := make([]said, 0, n)
	for range n {
		all = append(all, w.say())
	}
	return all
}

func (w *world) say() said {
	tenant := w.one(w.tenants...)
	switch w.IntN(12) {
	case 0, 1:
		return w.tenant(tenant)
	case 2:
		return w.application(tenant)
	case 3:
		return w.provider(tenant)
	case 4:
		return w.strange(tenant)
	default:
		return w.person(tenant)
	}
}

func (w *world) tenant(tenant string) said {
	typ := w.one(event.TypeTenantCreated, event.TypeTenantUpdated, event.TypeTenantUpdated, event.TypeTenantSuspended, event.TypeTenantDeleted)
	data := map[string]any{"tenant_id": tenant, "name": w.one("Fjord", "Dal"), "slug": w.one("fjord", "dal", "../x"), "settings": map[string]any{"require_mfa": w.IntN(2) == 0}}
	switch w.IntN(8) {
	case 0, 1:
		return said{Event: w.event(typ, true, "", "", data), tenant: tenant}
	case 2:
		data["tenant_id"] = tenant + "2"
		return said{Event: w.event(typ, false, tenant, "", data), tenant: tenant, twoOf: true}
	}
	return said{Event: w.event(typ, false, tenant, "", data), tenant: tenant}
}

func (w *world) application(tenant string) said {
	typ := w.one(event.TypeApplicationCreated, event.TypeApplicationUpdated, event.TypeApplicationDeleted)
	data := map[string]any{"application_id": w.one("a1", "a2"), "tenant_id": nil, "name": w.one("Ledger", "Books")}
	if w.IntN(2) == 0 {
		return said{Event: w.event(typ, true, "", "", data), global: true}
	}
	data["tenant_id"] = tenant
	return said{Event: w.event(typ, false, tenant, "", data), tenant: tenant}
}

func (w *world) provider(tenant string) said {
	typ := w.one(event.TypeSSOProviderAdded, event.TypeSSOProviderUpdated, event.TypeSSOProviderRemoved)
	data := map[string]any{"provider_id": w.one("OKTA", "a/b"), "provider_type": "oidc", "display_name": w.one("Okta", "Single")}
	if w.IntN(2) == 0 {
		return said{Event: w.event(typ, true, "", "", data), global: true}
	}
	return said{Event: w.event(typ, false, tenant, "", data), tenant: tenant}
}

// fact is what a first fill reads about somebody.
func (w *world) fact() mirror.Fact {
	tenant, sub := w.one(w.tenants...), w.one("p1", "p2", "p3", "identity:p1", "p4", "p5")
	w.next++
	f := mirror.Fact{
		Key: "authvital/tenant/" + tenant + "/" + sub, ReadAt: start.Unix() + int64(w.next/8),
		Tenant: mirror.FactTenant{ID: tenant, Name: w.one("Fjord read", "Dal read")},
		Person: mirror.FactPerson{ID: sub, Email: w.one("a@read.example", "b@read.example"), FamilyName: w.one("", "Read")},
		Membership: mirror.FactMembership{
			ID: "m_" + sub + tenant, Status: w.one(mirror.MembershipActive, mirror.MembershipSuspended, mirror.MembershipLeft),
			Roles: []string{w.one("owner", "viewer")}, Since: start.Add(-time.Hour),
		},
	}
	for _, app := range []string{"a1", "a2", "a3"} {
		if w.IntN(2) == 0 {
			f.Access = append(f.Access, mirror.FactAccess{ApplicationID: app, ApplicationName: "Read", RoleSlug: w.one("editor", "viewer")})
		}
	}
	return f
}

// strange events are of unknown types, unusable, or about nobody.
func (w *world) strange(tenant string) said {
	switch w.IntN(4) {
	case 0:
		return said{Event: w.event("tenant.renamed", false, tenant, "", map[string]any{"x": 1}), tenant: tenant}
	case 1:
		return said{Event: w.event(event.TypeSubjectUpdated, false, tenant, "", map[string]any{"sub": 7}), tenant: tenant}
	case 2:
		return said{Event: w.event(event.TypeSubjectUpdated, false, "", "", map[string]any{"sub": nil})}
	}
	return said{Event: w.event(event.TypeInviteCreated, false, "", "", map[string]any{"invite_id": "i1", "email": "x@y.example"})}
}

func (w *world) person(tenant string) said {
	sub := w.one("p1", "p2", "p3", "identity:p1")
	data := map[string]any{"sub": sub, "membership_id": "m_" + sub + tenant, "email": w.one("a@a.example", "b@b.example"), "given_name": w.one("Ines", "Ida")}
	if w.IntN(3) == 0 {
		tenant = ""
	}
	app := w.one("a1", "a2")
	about := said{tenant: tenant, person: sub}
	switch w.IntN(5) {
	case 0, 1:
		about.Event = w.event(w.one(event.TypeSubjectCreated, event.TypeSubjectUpdated, event.TypeSubjectDeactivated, event.TypeSubjectDeleted), false, tenant, app, data)
	case 2:
		data["tenant_roles"] = []string{w.one("owner", "viewer")}
		about.Event = w.event(w.one(event.TypeMemberJoined, event.TypeMemberLeft, event.TypeMemberRoleChanged), false, tenant, app, data)
	case 3:
		data["role_slug"] = w.one("editor", "viewer")
		about.Event = w.event(w.one(event.TypeAppAccessGranted, event.TypeAppAccessRevoked), false, tenant, app, data)
	case 4:
		data["invite_id"], data["assignment_id"] = w.one("i1", "i2"), w.one("l1", "l2")
		typ := w.one(event.TypeInviteAccepted, event.TypeLicenseAssigned, event.TypeLicenseRevoked)
		about.Event = w.event(typ, false, tenant, app, data)
		if typ == event.TypeInviteAccepted && tenant == "" {
			about.person = "" // about an invitation, of nobody knows which tenant
		}
	}
	return about
}

// event decodes what the sender would post. Times and ids collide.
func (w *world) event(typ string, system bool, tenant, app string, data map[string]any) *event.Event {
	w.t.Helper()
	w.next++
	at := start.Add(time.Duration(w.IntN(40)) * 500 * time.Microsecond).Format("2006-01-02T15:04:05.000000Z")
	envelope := map[string]any{"timestamp": at, "data": data}
	decode := event.DecodeWebhook
	channel := event.ChannelWebhook
	if system {
		decode, channel = event.DecodeSystem, event.ChannelSystem
		envelope["event"] = typ
		data["nonce"] = w.next
	} else {
		envelope["id"], envelope["type"] = fmt.Sprintf("e%03d", w.next), typ
		envelope["tenant_id"], envelope["application_id"] = orNull(tenant), orNull(app)
	}
	body, err := json.Marshal(envelope)
	if err != nil {
		w.t.Fatal(err)
	}
	ev, err := decode(body)
	if err != nil {
		w.t.Fatalf("decode %s: %v", body, err)
	}
	ev.Source, ev.Channel, ev.ReceivedAt = "authvital", channel, start
	ev.Evidence.Body = body
	return ev
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
