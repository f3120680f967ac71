package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// Identity is a person, service account or machine, by the provider's subject.
type Identity struct{ ent.Schema }

// Annotations of the model.
func (Identity) Annotations() []schema.Annotation { return table("av_identities") }

// Mixin of the model.
func (Identity) Mixin() []ent.Mixin { return []ent.Mixin{Synced{}} }

// Fields of the model.
func (Identity) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").StorageKey("sub").SchemaType(text).Immutable().
			StructTag(`json:"sub,omitempty"`).Comment("OIDC subject"),
		optional("username", "preferred_username"),
		optional("display_name", "OIDC name"),
		optional("given_name", ""),
		optional("family_name", ""),
		optional("middle_name", ""),
		optional("nickname", ""),
		optional("picture_url", "OIDC picture"),
		optional("website", ""),
		optional("gender", ""),
		optional("birthdate", "as sent: ISO 8601, the year may be 0000"),
		optional("zoneinfo", ""),
		optional("locale", ""),
		optional("email", ""),
		field.Bool("email_verified").Optional().Nillable(),
		optional("phone", "phone_number"),
		field.Bool("phone_verified").Optional().Nillable().Comment("phone_number_verified"),
		optional("subject_type", "user, service_account or machine; an open list"),
		optional("tenant_id", "the tenant that events last placed this person in"),
		optional("app_role", "role within the application or, failing that, the tenant"),
		field.Strings("groups").Optional(),
		field.Bool("is_active").Default(true).
			Comment("may this person log in anywhere?"),
		field.Bool("has_app_access").Default(false).
			Comment("may this person use this application?"),
	}
}

// Edges of the model.
func (Identity) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("sessions", IdentitySession.Type),
		edge.To("memberships", Membership.Type),
		edge.To("app_accesses", AppAccess.Type),
		edge.To("licenses", License.Type),
		edge.From("organization", Organization.Type).Ref("identities").Field("tenant_id").Unique(),
	}
}

// Indexes of the model. The last one answers lists by what few or no people
// have, which would otherwise read the whole table.
func (Identity) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("email"), index.Fields("tenant_id", "id"),
		index.Fields("id", "is_active", "has_app_access", "app_role", "subject_type").StorageKey("identity_filters"),
	}
}

// IdentitySession is a login session. The team's own application fills it; the
// hub removes a person's sessions with the person.
type IdentitySession struct{ ent.Schema }

// Annotations of the model.
func (IdentitySession) Annotations() []schema.Annotation { return table("av_identity_sessions") }

// Fields of the model.
func (IdentitySession) Fields() []ent.Field {
	return []ent.Field{
		field.String("identity_id").SchemaType(text).Comment("Identity's sub"),
		optional("auth_session_id", "the provider's session id (OIDC sid)"),
		optional("device_info", ""),
		optional("ip_address", ""),
		optional("user_agent", ""),
		field.Time("last_active_at").Optional().Nillable(),
		field.Time("expires_at").Optional().Nillable(),
		field.Time("revoked_at").Optional().Nillable(),
		field.Time("created_at").Default(now).Immutable(),
		field.Time("updated_at").Default(now).UpdateDefault(now),
		field.Time("synced_at").Optional().Nillable(),
	}
}

// Edges of the model.
func (IdentitySession) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("identity", Identity.Type).Ref("sessions").Field("identity_id").Unique().Required(),
	}
}

// Indexes of the model.
func (IdentitySession) Indexes() []ent.Index {
	return []ent.Index{index.Fields("identity_id"), index.Fields("auth_session_id"), index.Fields("expires_at")}
}
