package mirror

import (
	"strings"

	"github.com/avhub/avhub/core/event"
)

// form is what a column holds: how a register's JSON becomes a value for SQL.
type form uint8

const (
	text   form = iota
	flag        // boolean
	number      // 64-bit integer
	moment      // point in time
	list        // array of strings
	object      // any JSON
)

// column is one column of a model that events fill. Unless said otherwise there
// is a register of the same name for it.
type column struct {
	name string
	form form
	// otherwise is the JSON that stands where nothing is known; empty: NULL.
	otherwise string
	// scoped registers remember the tenant that they are about, and go when the
	// person leaves it.
	scoped bool
	// keyed columns are objects with a register for each top-level key,
	// "column.key". The register "column" itself says when the object was last
	// set as a whole: keys that were set before that are gone.
	keyed bool
	// keyOf is the register, "column.key", of a keyed column that this column
	// shows; it has none of its own.
	keyOf string
}

// The registers that are no columns of their own name.
const (
	createdAt = "created_at" // Unix microseconds
	// The registers that name the organization and the person that an entity
	// belongs to. They are shown as long as there is a row, whatever their clock,
	// so that the columns are always the very parents with which the row is
	// deleted.
	organizationField = "organization_id"
	personField       = "identity_id"
)

// model is a table of the mirror, as data for the one engine.
type model struct {
	kind    string
	table   string
	key     string // primary key
	columns []column
	// parents are the entities with which one of this model is deleted.
	parents []parent
	// marks: a deleted entity keeps its row, with the status "deleted".
	marks bool
	// plans: the model has a plan to show; see plan.go.
	plans *planOrder

	index     map[string]int    // position of a register's column
	keyed     int               // position of the keyed column, if any
	keyPrefix string            // what the keyed column's registers begin with; empty: it has none
	shown     map[string]int    // position of the column that shows a keyed register
	names     map[string]string // see name
	otherwise [][]byte          // by column; nil: NULL

	statements
}

// parent is a register that names an entity of another kind.
type parent struct {
	field, kind string
	statement   string // selects the keys of a parent's children, see newStatements
}

// rules are what the configuration decides about what events mean.
type rules struct {
	// applicationID is the application that the flat view of people follows;
	// empty: any.
	applicationID string
	// planFrom are the places where a plan is told, nil for all.
	planFrom []string
	// planApplication is the application whose subscriptions tell the plan,
	// empty for none.
	planApplication string
	markDeleted     bool
}

// models are all of them, and the rules that depend on the configuration.
type models struct {
	identities, organizations, applications, ssoProviders        *model
	memberships, appAccess, licenses, subscriptions, invitations *model

	list      []*model // children before what they name
	sweepKeys int      // see there
	rules
}

func newModels(r rules) *models {
	ms := &models{
		rules: r, sweepKeys: sweepKeys,
		identities: newModel(event.KindIdentity, "av_identities", "sub", []column{
			{name: "username"}, {name: "display_name"},
			{name: "given_name"}, {name: "family_name"}, {name: "middle_name"}, {name: "nickname"},
			{name: "picture_url"}, {name: "website"}, {name: "gender"}, {name: "birthdate"},
			{name: "zoneinfo"}, {name: "locale"},
			{name: "email"}, {name: "email_verified", form: flag},
			{name: "phone"}, {name: "phone_verified", form: flag},
			{name: "subject_type"},
			{name: "tenant_id", scoped: true}, {name: "app_role", scoped: true},
			{name: "groups", form: list, scoped: true},
			{name: "is_active", form: flag, otherwise: "true"},
			{name: "has_app_access", form: flag, otherwise: "false"},
		}),
		organizations: newModel(event.KindOrganization, "av_organizations", "tenant_id", []column{
			{name: "name", otherwise: `""`}, {name: "slug", otherwise: `""`},
			{name: "plan", otherwise: `"free"`}, {name: "owner_email"},
			{name: "allow_signups", form: flag, keyOf: "settings.allow_signups"},
			{name: "require_mfa", form: flag, keyOf: "settings.require_mfa"},
			{name: "allowed_email_domains", form: list, keyOf: "settings.allowed_email_domains"},
			{name: "session_lifetime_minutes", form: number, keyOf: "settings.session_lifetime_minutes"},
			{name: "password_policy", form: object, keyOf: "settings.password_policy"},
			{name: "settings", form: object, keyed: true},
			{name: "status", otherwise: `"active"`},
			{name: "suspended_at", form: moment}, {name: "suspended_by_sub"}, {name: "suspended_reason"},
			{name: "created_by_sub"},
		}),
		applications: newModel(event.KindApplication, "av_applications", "application_id", []column{
			{name: organizationField},
			{name: "name", otherwise: `""`}, {name: "slug"}, {name: "description"},
			{name: "client_id"}, {name: "application_type"},
			{name: "is_active", form: flag, otherwise: "true"},
			{name: "redirect_uris", form: list}, {name: "post_logout_redirect_uris", form: list},
			{name: "allowed_scopes", form: list}, {name: "grant_types", form: list},
			{name: "token_endpoint_auth_method"}, {name: "initiate_login_uri"},
			{name: "access_token_ttl_seconds", form: number}, {name: "refresh_token_ttl_seconds", form: number},
			{name: "licensing", form: object},
			{name: "created_by_sub"},
		}),
		ssoProviders: newModel(event.KindSSOProvider, "av_sso_providers", "id", []column{
			{name: "provider_id", otherwise: `""`}, {name: organizationField},
			{name: "provider_type"}, {name: "display_name"},
			{name: "is_enabled", form: flag, otherwise: "true"},
			{name: "client_id"}, {name: "issuer"},
			{name: "authorization_endpoint"}, {name: "token_endpoint"}, {name: "userinfo_endpoint"},
			{name: "domains", form: list}, {name: "attribute_mapping", form: object},
			{name: "created_by_sub"},
		}),
		memberships: newModel(event.KindMembership, "av_memberships", "membership_id", []column{
			{name: personField}, {name: organizationField},
			{name: "roles", form: list}, {name: "status", otherwise: `"active"`},
		}),
		appAccess: newModel(event.KindAppAccess, "av_app_access", "id", []column{
			{name: personField}, {name: "application_id"}, {name: organizationField},
			{name: "role_id"}, {name: "role_name"}, {name: "role_slug"},
			{name: "has_access", form: flag, otherwise: "false"}, {name: "access_type"},
		}),
		licenses: newModel(event.KindLicense, "av_licenses", "assignment_id", []column{
			{name: personField}, {name: organizationField}, {name: "application_id"},
			{name: "license_type_id"}, {name: "license_type_name"},
			{name: "status", otherwise: `"active"`},
		}),
		subscriptions: newModel(event.KindSubscription, "av_subscriptions", "subscription_id", []column{
			{name: organizationField}, {name: "application_id"},
			{name: "license_type_id"}, {name: "license_type_name"},
			{name: "quantity", form: number, otherwise: "0"}, {name: "status"},
		}),
		invitations: newModel(event.KindInvitation, "av_invitations", "invite_id", []column{
			{name: "membership_id"}, {name: organizationField}, {name: "email"},
			{name: "roles", form: list}, {name: "status", otherwise: `"pending"`},
			{name: "invited_by_sub"}, {name: "expires_at", form: moment},
		}),
	}
	ms.organizations.marks = r.markDeleted
	ms.organizations.plans = newPlanOrder(r.planFrom)
	ms.list = []*model{
		ms.memberships, ms.appAccess, ms.licenses, ms.subscriptions, ms.invitations,
		ms.applications, ms.ssoProviders, ms.identities, ms.organizations,
	}
	return ms
}

func newModel(kind, table, key string, columns []column) *model {
	m := &model{
		kind: kind, table: table, key: key, columns: columns,
		index: map[string]int{}, shown: map[string]int{},
		names: map[string]string{createdAt: createdAt},
	}
	m.otherwise = make([][]byte, len(columns))
	for i, c := range columns {
		if c.otherwise != "" {
			m.otherwise[i] = []byte(c.otherwise)
		}
		switch {
		case c.keyOf != "":
			m.shown[c.keyOf] = i
			m.names[c.keyOf] = c.keyOf
			continue
		case c.keyed:
			m.keyed, m.keyPrefix = i, c.name+"."
		case c.name == organizationField:
			m.parents = append(m.parents, parent{field: organizationField, kind: event.KindOrganization})
		case c.name == personField:
			m.parents = append(m.parents, parent{field: personField, kind: event.KindIdentity})
		}
		m.index[c.name] = i
		m.names[c.name] = c.name
	}
	m.statements = newStatements(m)
	return m
}

// name returns the register's name without allocating for those that every
// entity has.
func (m *model) name(b []byte) string {
	if s, ok := m.names[string(b)]; ok {
		return s
	}
	return string(b)
}

// byKind returns nil for a kind that the mirror does not have.
func (ms *models) byKind(kind string) *model {
	for _, m := range ms.list {
		if m.kind == kind {
			return m
		}
	}
	return nil
}

// parentKind returns the kind of the parent that a field names; empty: it names
// none.
func (m *model) parentKind(field string) string {
	for i := range m.parents {
		if m.parents[i].field == field {
			return m.parents[i].kind
		}
	}
	return ""
}

// isParent tells whether other entities are deleted with those of this model.
func (ms *models) isParent(m *model) bool { return m == ms.organizations || m == ms.identities }

// whole returns the register that a keyed register belongs to: "settings" for
// "settings.x". No other register has a dot in its name, but for those of
// subscriptions, which belong to none.
func whole(field string) (string, bool) {
	name, _, ok := strings.Cut(field, ".")
	return name, ok
}
