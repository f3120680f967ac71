package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// AppAccess says what a person may do in an application, as one of a tenant.
type AppAccess struct{ ent.Schema }

// Annotations of the model.
func (AppAccess) Annotations() []schema.Annotation { return table("av_app_access") }

// Mixin of the model.
func (AppAccess) Mixin() []ent.Mixin { return []ent.Mixin{Synced{}} }

// Fields of the model.
func (AppAccess) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Immutable().
			Comment("identity_id/application_id/organization_id, each part path-escaped, the last empty for none"),
		optional("identity_id", "the person's sub"),
		optional("application_id", ""),
		optional("organization_id", "the tenant; NULL: none was told"),
		optional("role_id", ""),
		optional("role_name", ""),
		optional("role_slug", ""),
		field.Bool("has_access").Default(false),
		optional("access_type", "GRANTED, INVITED, AUTO_FREE, AUTO_TENANT, AUTO_OWNER; an open list"),
	}
}

// Edges of the model.
func (AppAccess) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("identity", Identity.Type).Ref("app_accesses").Field("identity_id").Unique(),
		edge.From("application", Application.Type).Ref("app_accesses").Field("application_id").Unique(),
		edge.From("organization", Organization.Type).Ref("app_accesses").Field("organization_id").Unique(),
	}
}

// Indexes of the model. Those of an organization and of an application give their
// rows in the order of ids, page by page, however many there are.
func (AppAccess) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("identity_id", "application_id"), index.Fields("organization_id", "id", "has_access", "role_slug"), index.Fields("application_id", "id"),
		index.Fields("id", "has_access", "role_slug").StorageKey("appaccess_filters"),
	}
}

// License is a seat that a person was given.
type License struct{ ent.Schema }

// Annotations of the model.
func (License) Annotations() []schema.Annotation { return table("av_licenses") }

// Mixin of the model.
func (License) Mixin() []ent.Mixin { return []ent.Mixin{Synced{}} }

// Fields of the model.
func (License) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").StorageKey("assignment_id").SchemaType(text).Immutable().
			StructTag(`json:"assignment_id,omitempty"`),
		optional("identity_id", "the person's sub"),
		optional("organization_id", "the tenant"),
		optional("application_id", ""),
		optional("license_type_id", ""),
		optional("license_type_name", ""),
		field.String("status").SchemaType(text).Default("active").Comment("active or revoked"),
	}
}

// Edges of the model.
func (License) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("identity", Identity.Type).Ref("licenses").Field("identity_id").Unique(),
		edge.From("organization", Organization.Type).Ref("licenses").Field("organization_id").Unique(),
		edge.From("application", Application.Type).Ref("licenses").Field("application_id").Unique(),
	}
}

// Indexes of the model.
func (License) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("identity_id"), index.Fields("organization_id", "id", "status", "license_type_id"), index.Fields("application_id", "id"),
		index.Fields("id", "status", "license_type_id").StorageKey("license_filters"),
	}
}

// Subscription is what a tenant bought of an application.
type Subscription struct{ ent.Schema }

// Annotations of the model.
func (Subscription) Annotations() []schema.Annotation { return table("av_subscriptions") }

// Mixin of the model.
func (Subscription) Mixin() []ent.Mixin { return []ent.Mixin{Synced{}} }

// Fields of the model.
func (Subscription) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").StorageKey("subscription_id").SchemaType(text).Immutable().
			StructTag(`json:"subscription_id,omitempty"`),
		optional("organization_id", "the tenant"),
		optional("application_id", ""),
		optional("license_type_id", ""),
		optional("license_type_name", ""),
		field.Int64("quantity").Default(0).Comment("seats that were bought"),
		optional("status", "as sent, such as ACTIVE; an open list"),
	}
}

// Edges of the model.
func (Subscription) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("organization", Organization.Type).Ref("subscriptions").Field("organization_id").Unique(),
		edge.From("application", Application.Type).Ref("subscriptions").Field("application_id").Unique(),
	}
}

// Indexes of the model.
func (Subscription) Indexes() []ent.Index {
	return []ent.Index{index.Fields("organization_id"), index.Fields("application_id")}
}
