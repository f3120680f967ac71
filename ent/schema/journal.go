package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// JournalEvent is one entry of the journal: the verified bytes, the signature
// that vouches for them, and what the mirror made of them.
type JournalEvent struct{ ent.Schema }

// Annotations of the model.
func (JournalEvent) Annotations() []schema.Annotation { return table("avhub_events") }

// Fields of the model.
func (JournalEvent) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").StorageKey("position").
			Annotations(entsql.Annotation{Incremental: new(bool)}).
			Comment("gapless, in the order of commits"),
		field.String("source").SchemaType(text),
		field.String("channel").SchemaType(text),
		field.String("event_id").SchemaType(text),
		field.String("type").SchemaType(text),
		field.String("tenant_id").SchemaType(text).Default(""),
		field.String("application_id").SchemaType(text).Default(""),
		micros("occurred_at", "the provider's clock"),
		micros("received_at", "the hub's clock"),
		field.Int64("tenant_lane").Comment("hash of the tenant key"),
		field.Int64("subject_lane").Comment("hash of the subject"),
		field.Bytes("body").Comment("exactly as received"),
		field.String("key_id").SchemaType(text).Default(""),
		field.Bytes("signature").Optional(),
		field.String("signed_timestamp").SchemaType(text).Default("").
			Comment("timestamp header, where it is part of the signed bytes"),
		field.Bytes("changes").Optional().Comment("JSON: what the mirror changed"),
		field.Int("changes_omitted").Default(0),
		field.Bool("superseded").Default(false).Comment("newer events had overruled it"),
		field.String("failed").SchemaType(text).Default("").
			Comment("why the mirror could not apply it"),
	}
}

// Indexes of the model. The two lanes are what a blocked key reads its own
// events by; hashes, because they cost a third of the text.
func (JournalEvent) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("tenant_lane", "id"),
		index.Fields("subject_lane", "id"),
		index.Fields("id").StorageKey("avhub_events_failed").
			Annotations(entsql.IndexWhere("failed <> ''")),
	}
}

// ReappliedEvent is one that could not be applied when it came, and was later.
// Rows are numbered in the order of commits, so that whoever follows the journal
// can follow these, too.
type ReappliedEvent struct{ ent.Schema }

// Annotations of the model.
func (ReappliedEvent) Annotations() []schema.Annotation { return table("avhub_reapplied_events") }

// Fields of the model.
func (ReappliedEvent) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id"),
		field.Int64("position").Comment("in the journal"),
		field.String("tenant_id").SchemaType(text).Default("").Comment("that the event names"),
		field.String("tenant_key").SchemaType(text).Comment("of the event; without a tenant, its subject"),
	}
}

// Indexes of the model.
func (ReappliedEvent) Indexes() []ent.Index {
	return []ent.Index{index.Fields("tenant_id", "id")}
}

// SeenEvent remembers an event's id, so that it is journaled once. It outlives
// the journal's entry.
type SeenEvent struct{ ent.Schema }

// Annotations of the model.
func (SeenEvent) Annotations() []schema.Annotation { return table("avhub_seen_events") }

// Fields of the model.
func (SeenEvent) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Comment("event id / source"),
		field.Int64("position"),
		field.Bytes("body_hash").Comment("SHA-256 of the body"),
		micros("seen_at", "the hub's clock"),
		field.Int("conflicts").Default(0).Comment("deliveries of this id with another body"),
	}
}

// Indexes of the model. Ids are forgotten in the order in which they came.
func (SeenEvent) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("position"),
		index.Fields("position").StorageKey("avhub_seen_events_conflicts").
			Annotations(entsql.IndexWhere("conflicts > 0")),
	}
}

// Counter is a named number, such as the journal's last position.
type Counter struct{ ent.Schema }

// Annotations of the model.
func (Counter) Annotations() []schema.Annotation { return table("avhub_counters") }

// Fields of the model.
func (Counter) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").StorageKey("name").SchemaType(text),
		field.Int64("value"),
	}
}

// MirrorGrave keeps what is known about an entity that has no row in the
// mirror: when it was deleted, and fields that wait.
type MirrorGrave struct{ ent.Schema }

// Annotations of the model.
func (MirrorGrave) Annotations() []schema.Annotation { return table("avhub_mirror_graves") }

// Fields of the model.
func (MirrorGrave) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Comment("entity / id"),
		field.Bytes("sync_state"),
	}
}
