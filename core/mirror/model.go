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
	// parentField names the organization that an entity belongs to. It is shown
	// as long as there is a row, whatever its clock, so that the column is
	// always the very organization with which the row is deleted.
	parentField = "organization_id"
)

// model is a table of the mirror, as data for the one engine.
type model struct {
	kind    string
	table   string
	key     string // primary key
	columns []column
	child   bool // has parentField

	index     map[string]int    // position of a register's column
	keyed     int               // position of the keyed column, if any
	keyPrefix string            // what the keyed column's registers begin with; empty: it has none
	shown     map[string]int    // position of the column that shows a keyed register
	names     map[string]string // see name
	otherwise [][]byte          // by column; nil: NULL

	statements
}

// models are all of them.
type models struct {
	identities, organizations, applications, ssoProviders *model
}

func newModels() *models {
	return &models{
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
			{name: parentField},
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
			{name: "provider_id", otherwise: `""`}, {name: parentField},
			{name: "provider_type"}, {name: "display_name"},
			{name: "is_enabled", form: flag, otherwise: "true"},
			{name: "client_id"}, {name: "issuer"},
			{name: "authorization_endpoint"}, {name: "token_endpoint"}, {name: "userinfo_endpoint"},
			{name: "domains", form: list}, {name: "attribute_mapping", form: object},
			{name: "created_by_sub"},
		}),
	}
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
		case c.name == parentField:
			m.child = true
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

// all returns the models, children before the organizations that they name.
func (ms *models) all() [4]*model {
	return [...]*model{ms.identities, ms.applications, ms.ssoProviders, ms.organizations}
}

// byKind returns nil for a kind that the mirror does not have.
func (ms *models) byKind(kind string) *model {
	for _, m := range ms.all() {
		if m.kind == kind {
			return m
		}
	}
	return nil
}

// whole returns the register that a keyed register belongs to: "settings" for
// "settings.x". No other register has a dot in its name.
func whole(field string) (string, bool) {
	name, _, ok := strings.Cut(field, ".")
	return name, ok
}
