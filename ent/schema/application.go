package schema

import (
	"encoding/json"

	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// Application is an OIDC client; global, or one tenant's.
type Application struct{ ent.Schema }

// Annotations of the model.
func (Application) Annotations() []schema.Annotation { return table("av_applications") }

// Mixin of the model.
func (Application) Mixin() []ent.Mixin { return []ent.Mixin{Synced{}} }

// Fields of the model.
func (Application) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").StorageKey("application_id").SchemaType(text).Immutable().
			StructTag(`json:"application_id,omitempty"`),
		optional("organization_id", "the tenant it belongs to; NULL: global"),
		field.String("name").SchemaType(text).Default(""),
		optional("slug", ""),
		optional("description", ""),
		optional("client_id", ""),
		optional("application_type", "web, spa, native, machine; an open list"),
		field.Bool("is_active").Default(true),
		field.Strings("redirect_uris").Optional(),
		field.Strings("post_logout_redirect_uris").Optional(),
		field.Strings("allowed_scopes").Optional(),
		field.Strings("grant_types").Optional(),
		optional("token_endpoint_auth_method", ""),
		optional("initiate_login_uri", ""),
		field.Int64("access_token_ttl_seconds").Optional().Nillable(),
		field.Int64("refresh_token_ttl_seconds").Optional().Nillable(),
		field.JSON("licensing", json.RawMessage{}).Optional().Comment("as sent"),
		optional("created_by_sub", ""),
	}
}

// Edges of the model.
func (Application) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("organization", Organization.Type).Ref("applications").Field("organization_id").Unique(),
		edge.To("app_accesses", AppAccess.Type),
		edge.To("licenses", License.Type),
		edge.To("subscriptions", Subscription.Type),
	}
}

// Indexes of the model.
func (Application) Indexes() []ent.Index {
	return []ent.Index{index.Fields("organization_id"), index.Fields("client_id"), index.Fields("slug")}
}

// SSOProvider is a way to sign in through somebody else; global, or one
// tenant's.
type SSOProvider struct{ ent.Schema }

// Annotations of the model.
func (SSOProvider) Annotations() []schema.Annotation { return table("av_sso_providers") }

// Mixin of the model.
func (SSOProvider) Mixin() []ent.Mixin { return []ent.Mixin{Synced{}} }

// Fields of the model.
func (SSOProvider) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Immutable().
			Comment("provider_id of a global one, tenant_id/provider_id of a tenant's, both parts path-escaped"),
		field.String("provider_id").SchemaType(text).Immutable(),
		optional("organization_id", "the tenant it belongs to; NULL: global"),
		optional("provider_type", "google, microsoft, okta, saml, oidc; an open list"),
		optional("display_name", ""),
		field.Bool("is_enabled").Default(true),
		optional("client_id", ""),
		optional("issuer", ""),
		optional("authorization_endpoint", ""),
		optional("token_endpoint", ""),
		optional("userinfo_endpoint", ""),
		field.Strings("domains").Optional(),
		field.JSON("attribute_mapping", json.RawMessage{}).Optional().Comment("as sent"),
		optional("created_by_sub", ""),
	}
}

// Edges of the model.
func (SSOProvider) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("organization", Organization.Type).Ref("sso_providers").Field("organization_id").Unique(),
	}
}

// Indexes of the model.
func (SSOProvider) Indexes() []ent.Index {
	return []ent.Index{index.Fields("organization_id"), index.Fields("provider_id")}
}
