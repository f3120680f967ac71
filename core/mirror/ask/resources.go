package ask

import (
	"slices"
	"sync"

	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/appaccess"
	"github.com/avhub/avhub/ent/application"
	"github.com/avhub/avhub/ent/identity"
	"github.com/avhub/avhub/ent/identitysession"
	"github.com/avhub/avhub/ent/invitation"
	"github.com/avhub/avhub/ent/license"
	"github.com/avhub/avhub/ent/membership"
	"github.com/avhub/avhub/ent/organization"
	"github.com/avhub/avhub/ent/ssoprovider"
	"github.com/avhub/avhub/ent/subscription"
)

// Resources returns all of them. They are shared and must not be changed.
func Resources() []*Resource { return resources() }

var resources = sync.OnceValue(func() []*Resource {
	all := []*Resource{
		organizations(), identities(), applications(), ssoProviders(), memberships(),
		appAccess(), licenses(), subscriptions(), invitations(), sessions(),
	}
	for _, r := range all {
		r.addBeside(all)
	}
	return all
})

// addBeside makes columns of what stands beside the rows.
func (r *Resource) addBeside(all []*Resource) {
	for i, side := range r.beside {
		other := all[slices.IndexFunc(all, func(o *Resource) bool { return o.Name == side.of })]
		for _, name := range side.columns {
			c := *other.Column(name)
			c.Name, c.Beside, c.Null = side.prefix+"_"+name, other.Name, true
			c.alias, c.source = "b"+string(rune('0'+i)), name
			r.Columns = append(r.Columns, c)
		}
	}
}

// The columns by which rows refer to others; they have these names in every table
// but av_identities.
const (
	tenantColumn = membership.FieldOrganizationID
	personColumn = membership.FieldIdentityID
	appColumn    = license.FieldApplicationID
)

// Filters, columns beside and relations that several resources have.

func byTenant() Filter {
	return Filter{Name: "tenant", Column: tenantColumn, Takes: "id", About: "of the organization with this id"}
}

func byPerson() Filter {
	return Filter{Name: "person", Column: personColumn, Takes: "sub", About: "of the identity with this sub", few: true}
}

func byApp() Filter {
	return Filter{Name: "app", Column: appColumn, Takes: "id", About: "of the application with this id"}
}

func byStatus(values ...string) Filter {
	return Filter{Name: "status", Column: "status", Kind: OneOf, Values: values, Takes: "state", About: "in this state"}
}

func besidePerson() beside {
	return beside{of: "identity", by: personColumn, prefix: "identity", columns: []string{identity.FieldEmail, identity.FieldDisplayName}}
}

func besideApp() beside {
	return beside{of: "application", by: appColumn, prefix: "application", columns: []string{application.FieldName}}
}

func besideOrg() beside {
	return beside{of: "organization", by: tenantColumn, prefix: "organization", columns: []string{organization.FieldName}}
}

func itsOrg(from string) Relation {
	return Relation{Name: "org", Of: "organization", From: from, Column: organization.FieldID, About: "the organization"}
}

func itsPerson() Relation {
	return Relation{Name: "person", Of: "identity", From: personColumn, Column: identity.FieldID, About: "the identity"}
}

func itsApp() Relation {
	return Relation{Name: "app", Of: "application", From: appColumn, Column: application.FieldID, About: "the application"}
}

// many is a relation to all rows of a resource whose column has the asking row's
// key.
func many(name, of, key, column, about string) Relation {
	return Relation{Name: name, Of: of, Many: true, From: key, Column: column, About: about}
}

func organizations() *Resource {
	key := organization.FieldID
	return &Resource{
		Name: "organization", Plural: "organizations", Short: "org", Path: "organizations",
		About: "Organizations (tenants)", Table: organization.Table, Key: key,
		Columns: columnsOf(ent.Organization{}),
		Names:   []string{organization.FieldSlug},
		names:   []Filter{{Column: organization.FieldSlug}},
		Overview: []string{
			key, organization.FieldSlug, organization.FieldName, organization.FieldPlan,
			organization.FieldStatus, organization.FieldOwnerEmail, organization.FieldUpdatedAt,
		},
		Filters: []Filter{
			{Name: "plan", Column: organization.FieldPlan, Takes: "plan", About: "on this plan"},
			byStatus("active", "suspended", "deleted"),
			{Name: "slug", Column: organization.FieldSlug, Takes: "slug", About: "with this slug"},
			{Name: "owner", Column: organization.FieldOwnerEmail, Kind: Address, Takes: "address", About: "whose owner has this address"},
		},
		Relations: []Relation{
			many("apps", "application", key, tenantColumn, "its own applications"),
			many("sso", "sso provider", key, tenantColumn, "its login providers"),
			many("members", "membership", key, tenantColumn, "memberships, with each person's email and name"),
			many("people", "identity", key, identity.FieldTenantID, "identities that events last placed in it"),
			many("access", "app access", key, tenantColumn, "who may use which application as one of it"),
			many("licenses", "license", key, tenantColumn, "seats that were given to its people"),
			many("subscriptions", "subscription", key, tenantColumn, "what it bought"),
			many("invitations", "invitation", key, tenantColumn, "invitations into it"),
		},
	}
}

func identities() *Resource {
	key := identity.FieldID
	return &Resource{
		Name: "identity", Plural: "identities", Short: "identity", Path: "identities",
		About: "People, service accounts and machines", Table: identity.Table, Key: key,
		Columns: columnsOf(ent.Identity{}),
		Names:   []string{identity.FieldEmail},
		names:   []Filter{{Column: identity.FieldEmail, Kind: Address}},
		Overview: []string{
			key, identity.FieldEmail, identity.FieldDisplayName, identity.FieldTenantID, identity.FieldAppRole,
			identity.FieldIsActive, identity.FieldHasAppAccess, identity.FieldUpdatedAt,
		},
		Filters: []Filter{
			{Name: "tenant", Column: identity.FieldTenantID, Takes: "id", About: "that events last placed in the organization with this id"},
			{Name: "email", Column: identity.FieldEmail, Kind: Address, Takes: "address", About: "with this address"},
			{Name: "active", Column: identity.FieldIsActive, Kind: Flag, About: "that may, or may not, log in anywhere"},
			{Name: "access", Column: identity.FieldHasAppAccess, Kind: Flag, About: "that may, or may not, use the application"},
			{Name: "role", Column: identity.FieldAppRole, Takes: "role", About: "with this role"},
			{Name: "type", Column: identity.FieldSubjectType, Takes: "type", About: "of this type, such as user or machine"},
		},
		Relations: []Relation{
			itsOrg(identity.FieldTenantID),
			many("memberships", "membership", key, personColumn, "memberships in organizations"),
			many("access", "app access", key, personColumn, "which applications it may use"),
			many("licenses", "license", key, personColumn, "seats that it was given"),
			many("sessions", "session", key, identitysession.FieldIdentityID, "login sessions"),
		},
	}
}

func applications() *Resource {
	key := application.FieldID
	return &Resource{
		Name: "application", Plural: "applications", Short: "app", Path: "applications",
		About: "Applications (OIDC clients)", Table: application.Table, Key: key,
		Columns: columnsOf(ent.Application{}),
		Names:   []string{application.FieldClientID, application.FieldSlug},
		names:   []Filter{{Column: application.FieldClientID}, {Column: application.FieldSlug}},
		Overview: []string{
			key, application.FieldName, tenantColumn, application.FieldApplicationType,
			application.FieldClientID, application.FieldIsActive, application.FieldUpdatedAt,
		},
		Filters: []Filter{
			byTenant(),
			{Name: "global", Column: tenantColumn, Kind: Missing, About: "that belong to no organization, or only those that do"},
			{Name: "active", Column: application.FieldIsActive, Kind: Flag, About: "that are, or are not, active"},
			{Name: "type", Column: application.FieldApplicationType, Takes: "type", About: "of this type, such as web or machine"},
			{Name: "client-id", Column: application.FieldClientID, Takes: "id", About: "with this client id"},
			{Name: "slug", Column: application.FieldSlug, Takes: "slug", About: "with this slug"},
		},
		Relations: []Relation{
			itsOrg(tenantColumn),
			many("access", "app access", key, appColumn, "who may use it"),
			many("licenses", "license", key, appColumn, "seats that were given to people"),
			many("subscriptions", "subscription", key, appColumn, "who bought it"),
		},
	}
}

func ssoProviders() *Resource {
	return &Resource{
		Name: "sso provider", Plural: "login providers", Short: "sso", Path: "sso-providers",
		About: "Login providers", Table: ssoprovider.Table, Key: ssoprovider.FieldID,
		Columns: columnsOf(ent.SSOProvider{}),
		Names:   []string{ssoprovider.FieldProviderID},
		names:   []Filter{{Column: ssoprovider.FieldProviderID}},
		Overview: []string{
			ssoprovider.FieldID, ssoprovider.FieldProviderType, ssoprovider.FieldDisplayName, tenantColumn,
			ssoprovider.FieldIsEnabled, ssoprovider.FieldUpdatedAt,
		},
		Filters: []Filter{
			byTenant(),
			{Name: "global", Column: tenantColumn, Kind: Missing, About: "that belong to no organization, or only those that do"},
			{Name: "enabled", Column: ssoprovider.FieldIsEnabled, Kind: Flag, About: "that are, or are not, enabled"},
			{Name: "type", Column: ssoprovider.FieldProviderType, Takes: "type", About: "of this type, such as okta or saml"},
		},
		Relations: []Relation{itsOrg(tenantColumn)},
	}
}

func memberships() *Resource {
	key := membership.FieldID
	status := byStatus("active", "suspended", "left")
	status.usual = "active"
	return &Resource{
		Name: "membership", Plural: "memberships", Short: "member", Path: "memberships",
		About: "Memberships: a person's place in an organization", Table: membership.Table, Key: key,
		Columns: columnsOf(ent.Membership{}),
		beside:  []beside{besidePerson(), besideOrg()},
		Overview: []string{
			key, personColumn, "identity_email", "identity_display_name", tenantColumn, "organization_name",
			membership.FieldRoles, membership.FieldStatus,
		},
		Filters: []Filter{
			byTenant(), byPerson(), status,
			{Name: "role", Column: membership.FieldRoles, Kind: Element, Takes: "role", About: "that have this role in the organization"},
		},
		Relations: []Relation{
			itsPerson(), itsOrg(tenantColumn),
			many("invitations", "invitation", key, invitation.FieldMembershipID, "invitations that led to it"),
		},
	}
}

func appAccess() *Resource {
	return &Resource{
		Name: "app access", Plural: "grants", Short: "grant", Path: "app-access",
		About: "Grants: what a person may do in an application, as one of an organization",
		Table: appaccess.Table, Key: appaccess.FieldID,
		Columns: columnsOf(ent.AppAccess{}),
		beside:  []beside{besidePerson(), besideApp(), besideOrg()},
		Overview: []string{
			appaccess.FieldID, "identity_email", "application_name", "organization_name",
			appaccess.FieldRoleSlug, appaccess.FieldHasAccess, appaccess.FieldAccessType,
		},
		Filters: []Filter{
			byTenant(), byPerson(), byApp(),
			{Name: "access", Column: appaccess.FieldHasAccess, Kind: Flag, About: "that give access, or give none"},
			{Name: "role", Column: appaccess.FieldRoleSlug, Takes: "slug", About: "with the role of this slug"},
		},
		Relations: []Relation{itsPerson(), itsApp(), itsOrg(tenantColumn)},
	}
}

func licenses() *Resource {
	return &Resource{
		Name: "license", Plural: "licenses", Short: "license", Path: "licenses",
		About: "Licenses: seats that people were given", Table: license.Table, Key: license.FieldID,
		Columns: columnsOf(ent.License{}),
		beside:  []beside{besidePerson(), besideApp(), besideOrg()},
		Overview: []string{
			license.FieldID, personColumn, "identity_email", "organization_name", "application_name",
			license.FieldLicenseTypeName, license.FieldStatus,
		},
		Filters: []Filter{
			byTenant(), byPerson(), byApp(), byStatus("active", "revoked"),
			{Name: "type", Column: license.FieldLicenseTypeID, Takes: "id", About: "of the license type with this id"},
		},
		Relations: []Relation{itsPerson(), itsApp(), itsOrg(tenantColumn)},
	}
}

func subscriptions() *Resource {
	return &Resource{
		Name: "subscription", Plural: "subscriptions", Short: "subscription", Path: "subscriptions",
		About: "Subscriptions: what an organization bought of an application", Table: subscription.Table, Key: subscription.FieldID,
		Columns: columnsOf(ent.Subscription{}),
		beside:  []beside{besideApp(), besideOrg()},
		Overview: []string{
			subscription.FieldID, tenantColumn, "organization_name", "application_name",
			subscription.FieldLicenseTypeName, subscription.FieldQuantity, subscription.FieldStatus,
		},
		Filters: []Filter{
			byTenant(), byApp(),
			{Name: "type", Column: subscription.FieldLicenseTypeID, Takes: "id", About: "of the license type with this id"},
			{Name: "status", Column: subscription.FieldStatus, Kind: Fold, Takes: "state", About: "in this state, such as active; upper and lower case are the same"},
		},
		Relations: []Relation{itsApp(), itsOrg(tenantColumn)},
	}
}

func invitations() *Resource {
	return &Resource{
		Name: "invitation", Plural: "invitations", Short: "invitation", Path: "invitations",
		About: "Invitations into organizations", Table: invitation.Table, Key: invitation.FieldID,
		Columns: columnsOf(ent.Invitation{}),
		beside:  []beside{besideOrg()},
		Overview: []string{
			invitation.FieldID, invitation.FieldEmail, tenantColumn, "organization_name",
			invitation.FieldRoles, invitation.FieldStatus, invitation.FieldExpiresAt,
		},
		Filters: []Filter{
			byTenant(), byStatus("pending", "accepted", "deleted", "expired"),
			{Name: "email", Column: invitation.FieldEmail, Kind: Address, Takes: "address", About: "to this address"},
			{Name: "membership", Column: invitation.FieldMembershipID, Takes: "id", About: "that lead to the membership with this id"},
		},
		Relations: []Relation{
			{Name: "membership", Of: "membership", From: invitation.FieldMembershipID, Column: membership.FieldID, About: "the membership that it leads to"},
			itsOrg(tenantColumn),
		},
	}
}

func sessions() *Resource {
	return &Resource{
		Name: "session", Plural: "sessions", Short: "session", Path: "sessions",
		About: "Login sessions, which your own application writes", Table: identitysession.Table, Key: identitysession.FieldID,
		Columns: columnsOf(ent.IdentitySession{}),
		Overview: []string{
			identitysession.FieldID, personColumn, identitysession.FieldIPAddress, identitysession.FieldDeviceInfo,
			identitysession.FieldLastActiveAt, identitysession.FieldExpiresAt, identitysession.FieldRevokedAt,
		},
		Filters: []Filter{
			byPerson(),
			{Name: "auth-session", Column: identitysession.FieldAuthSessionID, Takes: "id", About: "of the provider's session with this id"},
		},
		Relations: []Relation{itsPerson()},
	}
}
