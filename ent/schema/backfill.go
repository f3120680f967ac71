package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// BackfillFact is what a first fill read about one member. Facts stay, so that
// the mirror can be built anew from them and the journal.
type BackfillFact struct{ ent.Schema }

// Annotations of the model.
func (BackfillFact) Annotations() []schema.Annotation { return table("avhub_backfill_facts") }

// Fields of the model.
func (BackfillFact) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id"),
		field.String("key").SchemaType(text).Comment("what the fact is about; the newest of a key is what the provider said last"),
		field.String("tenant_id").SchemaType(text).Default("").Comment("which tenant it is about, for the tenant's own database"),
		field.Int64("read_at").Comment("when it was read (Unix seconds, the hub's clock)"),
		field.Bytes("fact").Comment("JSON"),
	}
}

// Indexes of the model.
func (BackfillFact) Indexes() []ent.Index {
	return []ent.Index{index.Fields("key", "read_at").Unique(), index.Fields("tenant_id", "id")}
}

// BackfillRun is how far a first fill has come, so that one that was
// interrupted goes on.
type BackfillRun struct{ ent.Schema }

// Annotations of the model.
func (BackfillRun) Annotations() []schema.Annotation { return table("avhub_backfill_runs") }

// Fields of the model.
func (BackfillRun) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Comment("source / what was read"),
		micros("started_at", "of the run that it belongs to, the hub's clock"),
		micros("done_at", "when it was read to its end; 0: not yet"),
		field.Int64("members").Default(0),
	}
}
