package access

import "strings"

// Reason says why somebody is allowed or denied. The words are stable.
type Reason string

// The reasons of decisions, in the order in which the first that applies is
// given when a tenant is asked about: the person, the tenant, the membership,
// the access.
const (
	Allowed             Reason = "allowed"
	UnknownIdentity     Reason = "unknown_identity"     // the mirror has no such person
	IdentityDeactivated Reason = "identity_deactivated" // may not log in anywhere
	TenantDeleted       Reason = "tenant_deleted"
	TenantSuspended     Reason = "tenant_suspended"
	MembershipLeft      Reason = "membership_left"      // the person has left the tenant
	MembershipSuspended Reason = "membership_suspended" // in the tenant
	NoAccess            Reason = "no_access"            // to the application
)

// Text is a sentence for people that names nobody.
func (r Reason) Text() string {
	switch r {
	case Allowed:
		return "access is granted"
	case UnknownIdentity:
		return "this person is not known"
	case IdentityDeactivated:
		return "this person is deactivated"
	case TenantDeleted:
		return "the tenant was deleted"
	case TenantSuspended:
		return "the tenant is suspended"
	case MembershipLeft:
		return "this person has left the tenant"
	case MembershipSuspended:
		return "this person's membership in the tenant is suspended"
	case NoAccess:
		return "this person has no access to the application"
	}
	return string(r)
}

// Decision is the answer to a check.
type Decision struct {
	Allowed bool   `json:"allowed"`
	Reason  Reason `json:"reason"`

	// What was asked. Tenant is empty if it was asked over all tenants.
	Identity    string `json:"identity"`
	Application string `json:"application"`
	Tenant      string `json:"tenant,omitempty"`

	// Grants decided: those that allow, or, where Reason is about a tenant or a
	// membership, those that would allow but for it. By tenant, ascending; there
	// is more than one only if no tenant was asked about.
	Grants []Grant `json:"grants,omitempty"`
}

// Grant is access to an application in a tenant.
type Grant struct {
	Tenant   string `json:"tenant"` // empty: independent of tenants
	RoleID   string `json:"role_id,omitempty"`
	RoleSlug string `json:"role_slug,omitempty"`
	RoleName string `json:"role_name,omitempty"`
}

// Role is the role's slug or, without one, its name; empty if none was told.
func (g Grant) Role() string {
	if g.RoleSlug != "" {
		return g.RoleSlug
	}
	return g.RoleName
}

// Role is the role of the first grant, where allowed.
func (d Decision) Role() string {
	if !d.Allowed || len(d.Grants) == 0 {
		return ""
	}
	return d.Grants[0].Role()
}

// Text is a sentence for operators: it names who and what was asked about.
func (d Decision) Text() string {
	var b strings.Builder
	if d.Allowed {
		b.WriteString(d.Identity + " may use " + d.Application)
		for i, g := range d.Grants {
			if i > 0 {
				b.WriteString(",")
			}
			if g.Tenant != "" {
				b.WriteString(" in " + g.Tenant)
			}
			if role := g.Role(); role != "" {
				b.WriteString(" as " + role)
			}
		}
		return b.String()
	}
	b.WriteString(d.Identity + " may not use " + d.Application)
	if d.Tenant != "" {
		b.WriteString(" in " + d.Tenant)
	}
	b.WriteString(": " + d.Reason.Text())
	if d.Tenant == "" && len(d.Grants) > 0 {
		tenants := make([]string, len(d.Grants))
		for i, g := range d.Grants {
			tenants[i] = g.Tenant
		}
		b.WriteString(" (" + strings.Join(tenants, ", ") + ")")
	}
	return b.String()
}
