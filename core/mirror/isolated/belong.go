package isolated

import (
	"strings"

	"github.com/avhub/avhub/core/event"
)

// Which events belong into which tenant's database. Three rules, and nothing
// else gets there:
//
//   - An event that names the tenant: home.
//   - An event about an application or login provider that names no tenant
//     belongs into all of them: global.
//   - An event that names no tenant and is about a person belongs where an event
//     of the first kind, at any time, named that person: person.

// home returns the tenant that an event names, empty for none. An event whose
// envelope names one tenant and whose data is about another's organization,
// application or login provider contradicts itself, and belongs to neither: one
// of the two would see what is the other's.
func home(ev *event.Event) string {
	if ev.TenantID == "" || contradicts(ev) {
		return ""
	}
	return ev.TenantID
}

// contradicts tells whether envelope and data name two tenants. Data that cannot
// be read changes nothing anywhere.
func contradicts(ev *event.Event) bool {
	var inData string
	switch family, _, _ := strings.Cut(ev.Type, "."); family {
	case "tenant":
		if d, err := ev.TenantData(); err == nil {
			inData = d.TenantID.Value
		} else if d, err := ev.TenantAppData(); err == nil {
			inData = d.TenantID.Value
		}
	case "application":
		if d, err := ev.ApplicationData(); err == nil {
			inData = d.TenantID.Value
		}
	case "sso":
		if d, err := ev.SSOProviderData(); err == nil {
			inData = d.TenantID.Value
		}
	}
	return inData != "" && inData != ev.TenantID
}

// global returns the subject of an event about an application or login provider
// that names no tenant, else nothing. It is the event's TenantKey.
func global(ev *event.Event) string {
	if ev.TenantID != "" {
		return ""
	}
	subject := ev.Subject()
	switch kind, _, _ := strings.Cut(subject, ":"); kind {
	case event.KindApplication, event.KindSSOProvider:
		return subject
	}
	return ""
}

// person returns the sub of the person whom an event is about, or who accepted
// an invitation; empty if there is none.
func person(ev *event.Event) string {
	if sub, ok := strings.CutPrefix(ev.Subject(), event.KindIdentity+":"); ok {
		return sub
	}
	if ev.Type == event.TypeInviteAccepted {
		if d, err := ev.InviteData(); err == nil {
			return d.Sub.Value
		}
	}
	return ""
}

// homeless returns the sub of the person whom an event that names no tenant is
// about. personKey of it is the event's TenantKey.
func homeless(ev *event.Event) string {
	if ev.TenantID != "" {
		return ""
	}
	sub, ok := strings.CutPrefix(ev.Subject(), event.KindIdentity+":")
	if !ok {
		return ""
	}
	return sub
}

// personKey is the TenantKey of events about a person that name no tenant.
func personKey(sub string) string { return event.KindIdentity + ":" + sub }

// tenantKey is the TenantKey of events that name the tenant.
func tenantKey(tenant string) string { return (&event.Event{TenantID: tenant}).TenantKey() }

// lives tells whether an event can bring a deleted tenant back.
func lives(ev *event.Event) bool {
	switch ev.Type {
	case event.TypeTenantCreated, event.TypeTenantUpdated, event.TypeTenantSuspended:
		return true
	}
	return false
}
