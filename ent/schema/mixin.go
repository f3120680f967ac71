// Package schema declares the models from which package ent and the database
// migrations are generated. Tables av_… are the mirror, which teams query;
// tables avhub_… are the hub's own.
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/mixin"
)

// table names a model's table. Foreign keys are never created for the mirror
// (events of a child may arrive before those of its parent), so edges are for
// queries alone.
func table(name string) []schema.Annotation {
	return []schema.Annotation{entsql.Annotation{Table: name}}
}

// text is a column type without a length limit on either database; ent's own
// default for strings is varchar(255) on some.
var text = map[string]string{dialect.Postgres: "text", dialect.SQLite: "text"}

// optional is a text column that is NULL until the provider tells its value.
func optional(name, comment string) ent.Field {
	return field.String(name).SchemaType(text).Optional().Nillable().Comment(comment)
}

// micros is a point in time as Unix microseconds: it compares the same on both
// databases, which text times on SQLite do not always.
func micros(name, comment string) ent.Field {
	return field.Int64(name).Default(0).Comment(comment + " (Unix microseconds)")
}

// Synced are the fields that every row of the mirror ends with.
type Synced struct{ mixin.Schema }

// Fields of the mixin.
func (Synced) Fields() []ent.Field {
	return []ent.Field{
		field.Time("created_at").
			Comment("when it was created at the provider, as far as events told"),
		field.Time("updated_at").
			Comment("the provider's time of the newest event that shows in this row"),
		field.Time("synced_at").
			Comment("the hub's time of the last change to this row"),
		field.Bytes("sync_state").Optional().Sensitive().
			Comment("the hub's own: which event set which field; not for use"),
	}
}
