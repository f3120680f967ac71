package mirror

import (
	"slices"
	"strings"

	"github.com/avhub/avhub/core/event"
)

// Ref names an entity. Kind is one of package event's, such as
// event.KindIdentity; ID is the key of its row: the sub, the tenant_id and so on.
type Ref struct {
	Kind, ID string
}

// Refs returns the entities whose rows go out with an event: the one that it is
// about, the membership, access, license or subscription that it tells of, its
// tenant's organization, and the application that its envelope names. Entities
// of kinds that the mirror does not have are left out.
func (m *Mirror) Refs(ev *event.Event) []Ref {
	refs := make([]Ref, 0, 4)
	kind, id, _ := strings.Cut(ev.Subject(), ":")
	if m.models.byKind(kind) != nil {
		if kind == event.KindSSOProvider {
			// The subject has the tenant's part always, the row's id only when
			// there is a tenant.
			id = strings.TrimPrefix(id, "/")
		}
		refs = append(refs, Ref{kind, id})
	}
	for _, beside := range [...]Ref{
		given(ev, kind, id), {event.KindOrganization, ev.TenantID}, {event.KindApplication, ev.ApplicationID},
	} {
		if beside.ID != "" && !slices.Contains(refs, beside) {
			refs = append(refs, beside)
		}
	}
	return refs
}

// given returns what an event tells that its subject, which is of the given kind
// and id, has or had in a tenant: the entity that the event changes beside the
// subject, or instead of it.
func given(ev *event.Event, kind, id string) Ref {
	switch family, _, _ := strings.Cut(ev.Type, "."); {
	case kind == event.KindType:
		return Ref{}
	case family == string(event.FamilyMember):
		return Ref{event.KindMembership, ev.DataID("membership_id")}
	case family == string(event.FamilyLicense):
		return Ref{event.KindLicense, ev.DataID("assignment_id")}
	case family == string(event.FamilyAppAccess):
		return accessRef(id, ev.ApplicationID, ev.TenantID)
	case ev.Type != event.TypeTenantAppGranted && ev.Type != event.TypeTenantAppRevoked:
		return Ref{}
	case kind == event.KindOrganization:
		return Ref{event.KindSubscription, ev.DataID("subscription_id")}
	}
	tenant, application := ev.DataID("tenant_id"), ev.DataID("application_id")
	if tenant == "" {
		tenant = ev.TenantID
	}
	if application == "" {
		application = ev.ApplicationID
	}
	return accessRef(id, application, tenant)
}

func accessRef(person, application, tenant string) Ref {
	if application == "" {
		return Ref{}
	}
	return Ref{event.KindAppAccess, accessID(person, application, tenant)}
}
