package schema

import (
	"encoding/json"
	"time"

	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// now is cut to microseconds, which is what both databases can hold.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Organization is a tenant.
type Organization struct{ ent.Schema }

// Annotations of the model.
func (Organization) Annotations() []schema.Annotation { return table("av_organizations") }

// Mixin of the model.
func (Organization) Mixin() []ent.Mixin { return []ent.Mixin{Synced{}} }

// Fields of the model.
func (Organization) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").StorageKey("tenant_id").SchemaType(text).Immutable().
			StructTag(`json:"tenant_id,omitempty"`),
		field.String("name").SchemaType(text).Default(""),
		field.String("slug").SchemaType(text).Default(""),
		field.String("plan").SchemaType(text).Default("free").Comment("an open list"),
		optional("owner_email", ""),
		field.Bool("allow_signups").Optional().Nillable().Comment("from settings"),
		field.Bool("require_mfa").Optional().Nillable().Comment("from settings"),
		field.Strings("allowed_email_domains").Optional().Comment("from settings"),
		field.Int64("session_lifetime_minutes").Optional().Nillable().Comment("from settings"),
		field.JSON("password_policy", json.RawMessage{}).Optional().Comment("from settings, as sent"),
		field.JSON("settings", map[string]json.RawMessage{}).Optional().Comment("everything that was sent"),
		field.String("status").SchemaType(text).Default("active").Comment("active, suspended or deleted"),
		field.Time("suspended_at").Optional().Nillable(),
		optional("suspended_by_sub", ""),
		optional("suspended_reason", ""),
		optional("created_by_sub", ""),
	}
}

// Edges of the model.
func (Organization) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("applications", Application.Type),
		edge.To("sso_providers", SSOProvider.Type),
		edge.To("identities", Identity.Type),
		edge.To("memberships", Membership.Type),
		edge.To("app_accesses", AppAccess.Type),
		edge.To("licenses", License.Type),
		edge.To("subscriptions", Subscription.Type),
		edge.To("invitations", Invitation.Type),
	}
}

// Indexes of the model.
func (Organization) Indexes() []ent.Index {
	return []ent.Index{index.Fields("slug"), index.Fields("owner_email")}
}
