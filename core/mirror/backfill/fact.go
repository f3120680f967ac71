package backfill

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/backfill/integration"
)

// Why a member makes no fact.
const (
	skipInvited   = "invited"        // has not come yet; the invitation's events tell of him
	skipStatus    = "unknown_status" // neither active nor suspended nor invited
	skipUnusable  = "unusable"       // what was sent cannot be read or kept
	skipDuplicate = "duplicate"      // came twice within one answer
)

// status translates the provider's word for it; empty: there is none of ours.
func status(sent string) string {
	switch {
	case strings.EqualFold(sent, "ACTIVE"):
		return mirror.MembershipActive
	case strings.EqualFold(sent, "SUSPENDED"):
		return mirror.MembershipSuspended
	}
	return ""
}

// tenantOf is the tenant that a member of an answer is in.
func tenantOf(u integration.Unit, head integration.Head, m *integration.Member) integration.Head {
	if u.Kind == integration.Tenant {
		return head
	}
	return m.Tenant
}

// keyOf is the key of the fact that an answer tells about a member: of a
// membership in the answer about a tenant, of a person in the one about an
// application, where the membership is not the point.
func keyOf(source string, u integration.Unit, tenant, membership, person string) string {
	key := source + "/" + u.String() + "/"
	if u.Kind == integration.Tenant {
		return key + url.PathEscape(membership)
	}
	return key + url.PathEscape(tenant) + "/" + url.PathEscape(person)
}

// factOf is what an answer says about a member who is active or suspended.
func factOf(source string, u integration.Unit, head integration.Head, m *integration.Member) mirror.Fact {
	tenant := tenantOf(u, head, m)
	f := mirror.Fact{
		Key:        keyOf(source, u, tenant.ID, m.ID, m.Person.ID),
		Tenant:     mirror.FactTenant{ID: tenant.ID, Name: tenant.Name, Slug: tenant.Slug},
		Membership: mirror.FactMembership{ID: m.ID, Status: status(m.Status), Since: m.Since},
		Person:     mirror.FactPerson{ID: m.Person.ID, Email: m.Person.Email, GivenName: m.Person.GivenName, FamilyName: m.Person.FamilyName},
	}
	if u.Kind == integration.Tenant {
		f.Membership.Roles = tenantRoles(m)
	}
	f.Access = accessOf(u, head, m)
	return f
}

// tenantRoles are the roles in the tenant, by the word that events use for them.
func tenantRoles(m *integration.Member) []string {
	roles := []string{}
	for _, r := range m.Roles {
		if r.ApplicationID != "" {
			continue
		}
		for _, word := range []string{r.Slug, r.Name, r.ID} {
			if word != "" {
				roles = append(roles, word)
				break
			}
		}
	}
	return roles
}

// accessOf is what the member may use. There is room for one role in each
// application: of several, the first by name counts, in whichever order they come.
func accessOf(u integration.Unit, head integration.Head, m *integration.Member) []mirror.FactAccess {
	var all []mirror.FactAccess
	seen := map[string]bool{}
	roles := slices.SortedStableFunc(slices.Values(m.Roles), func(a, b integration.Role) int {
		return cmp.Or(strings.Compare(a.Slug, b.Slug), strings.Compare(a.ID, b.ID))
	})
	for _, r := range roles {
		a := mirror.FactAccess{ApplicationID: r.ApplicationID, ApplicationName: r.ApplicationName, RoleID: r.ID, RoleName: r.Name, RoleSlug: r.Slug}
		if u.Kind == integration.Application {
			a.ApplicationID, a.ApplicationName, a.ClientID = head.ID, head.Name, u.ID
		}
		if a.ApplicationID == "" || seen[a.ApplicationID] {
			continue
		}
		seen[a.ApplicationID] = true
		all = append(all, a)
	}
	return all
}
