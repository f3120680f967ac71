package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// Membership is a person's place in a tenant.
type Membership struct{ ent.Schema }

// Annotations of the model.
func (Membership) Annotations() []schema.Annotation { return table("av_memberships") }

// Mixin of the model.
func (Membership) Mixin() []ent.Mixin { return []ent.Mixin{Synced{}} }

// Fields of the model.
func (Membership) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").StorageKey("membership_id").SchemaType(text).Immutable().
			StructTag(`json:"membership_id,omitempty"`),
		optional("identity_id", "the person's sub"),
		optional("organization_id", "the tenant"),
		field.Strings("roles").Optional().Comment("roles in the tenant"),
		field.String("status").SchemaType(text).Default("active").Comment("active, suspended or left"),
	}
}

// Edges of the model.
func (Membership) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("identity", Identity.Type).Ref("memberships").Field("identity_id").Unique(),
		edge.From("organization", Organization.Type).Ref("memberships").Field("organization_id").Unique(),
		edge.To("invitations", Invitation.Type),
	}
}

// Indexes of the model.
func (Membership) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("identity_id", "organization_id"), index.Fields("organization_id", "id", "status"),
		index.Fields("id").StorageKey("membership_not_active").Annotations(entsql.IndexWhere("status <> 'active'")),
	}
}

// Invitation is an invitation into a tenant.
type Invitation struct{ ent.Schema }

// Annotations of the model.
func (Invitation) Annotations() []schema.Annotation { return table("av_invitations") }

// Mixin of the model.
func (Invitation) Mixin() []ent.Mixin { return []ent.Mixin{Synced{}} }

// Fields of the model.
func (Invitation) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").StorageKey("invite_id").SchemaType(text).Immutable().
			StructTag(`json:"invite_id,omitempty"`),
		optional("membership_id", "the membership that it leads to"),
		optional("organization_id", "the tenant"),
		optional("email", ""),
		field.Strings("roles").Optional().Comment("roles in the tenant"),
		field.String("status").SchemaType(text).Default("pending").Comment("pending, accepted, deleted or expired"),
		optional("invited_by_sub", ""),
		field.Time("expires_at").Optional().Nillable(),
	}
}

// Edges of the model.
func (Invitation) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("membership", Membership.Type).Ref("invitations").Field("membership_id").Unique(),
		edge.From("organization", Organization.Type).Ref("invitations").Field("organization_id").Unique(),
	}
}

// Indexes of the model.
func (Invitation) Indexes() []ent.Index {
	return []ent.Index{index.Fields("organization_id"), index.Fields("membership_id"), index.Fields("email")}
}
