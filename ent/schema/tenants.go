package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// TenantDatabase is a tenant's own database, where mirror.tenants asks for one.
type TenantDatabase struct{ ent.Schema }

// Annotations of the model.
func (TenantDatabase) Annotations() []schema.Annotation { return table("avhub_tenant_databases") }

// Fields of the model.
func (TenantDatabase) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").StorageKey("tenant_id").SchemaType(text),
		field.String("place").SchemaType(text).Default("").
			Comment("file or database, chosen when it was first needed; no credentials"),
		field.Int64("position").Default(0).Comment("it holds everything up to here"),
		field.Int64("target").Default(0).Comment("the last event that it has to get"),
		field.Int64("facts").Default(0).Comment("in the tenant's own: it holds the facts of first fills up to this one"),
		field.Int64("reapplied").Default(0).Comment("in the tenant's own: it holds the events that were applied later up to this one"),
		field.Int64("calls").Default(0).Comment("how often there was a reason to look at it that is no new event"),
		field.Int64("answered").Default(0).Comment("of calls"),
		field.Int("attempts").Default(0).Comment("failed attempts in a row"),
		micros("next_at", "when it is tried again"),
		field.String("last_error").SchemaType(text).Default(""),
		field.String("state").SchemaType(text).Default("").Comment("empty: fed; deleted: the tenant is, and its database was dealt with"),
		micros("updated_at", "the hub's clock"),
	}
}

// Indexes of the model.
func (TenantDatabase) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("next_at").StorageKey("avhub_tenant_databases_behind").
			Annotations(entsql.IndexWhere("target > position OR calls > answered")),
	}
}

// TenantPerson ties a tenant's database to something that it also gets the
// events of that name no tenant: a person; or, with an empty tenant_id, all
// databases to an application or a login provider that belongs to no tenant.
type TenantPerson struct{ ent.Schema }

// Annotations of the model.
func (TenantPerson) Annotations() []schema.Annotation { return table("avhub_tenant_people") }

// Fields of the model.
func (TenantPerson) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Comment("tenant_id/sub, each part path-escaped, or a hash of both if they are long"),
		field.String("tenant_id").SchemaType(text).Comment("empty: every tenant"),
		field.String("sub").SchemaType(text).Comment("the person; with an empty tenant_id the subject of events, such as application:app_1"),
		field.Int64("since").Default(0).Comment("position of the event that tied them; 0: the fact of a first fill did"),
		field.Int64("latest").Default(0).Comment("position of the last event to look for; no newer one concerns the tenant"),
	}
}

// Indexes of the model.
func (TenantPerson) Indexes() []ent.Index {
	return []ent.Index{index.Fields("sub"), index.Fields("tenant_id", "latest", "sub")}
}
