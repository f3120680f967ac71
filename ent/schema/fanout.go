package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// Cursor is a plugin's progress: everything at or below its position is settled
// or belongs to a lane.
type Cursor struct{ ent.Schema }

// Annotations of the model.
func (Cursor) Annotations() []schema.Annotation { return table("avhub_cursors") }

// Fields of the model.
func (Cursor) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").StorageKey("plugin").SchemaType(text),
		field.Int64("position").Default(0),
		field.Int64("epoch").Default(0).
			Comment("fencing number: grows with every owner, checked in every commit"),
		field.String("owner").SchemaType(text).Default("").Comment("the hub that delivers"),
		field.String("state").SchemaType(text).Default("").Comment("what the plugin is doing"),
		field.String("reason").SchemaType(text).Default("").Comment("why it is not running"),
		field.String("version").SchemaType(text).Default(""),
		field.Int64("restarts").Default(0).Comment("how often the owner started its process again"),
		field.String("config_hash").SchemaType(text).Default("").
			Comment("the configuration that it halted with"),
		micros("updated_at", "the owner's clock; it grows as long as the owner is alive"),
	}
}

// Lane is a blocked key of one plugin: its events wait from head on.
type Lane struct{ ent.Schema }

// Annotations of the model.
func (Lane) Annotations() []schema.Annotation { return table("avhub_lanes") }

// Fields of the model.
func (Lane) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Comment("plugin / key"),
		field.String("plugin").SchemaType(text),
		field.String("key").SchemaType(text),
		field.Int64("head").Comment("position of the first unsettled event"),
		field.Int("attempts").Default(0).Comment("failed attempts at the head"),
		micros("since", "when the head first failed"),
		micros("next_at", "when the head is tried again"),
		field.String("last_error").SchemaType(text).Default(""),
		field.Bytes("history").Optional().Comment("JSON: the last errors"),
		field.Int64("discard").Default(0).
			Comment("an operator gave up the event at this position"),
	}
}

// Indexes of the model.
func (Lane) Indexes() []ent.Index {
	return []ent.Index{index.Fields("plugin", "next_at")}
}

// PluginState is what a plugin remembers for one key, and how far that key is
// settled.
type PluginState struct{ ent.Schema }

// Annotations of the model.
func (PluginState) Annotations() []schema.Annotation { return table("avhub_plugin_states") }

// Fields of the model.
func (PluginState) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Comment("plugin / key"),
		field.Int64("position").Comment("the last settled event of the key"),
		field.Bytes("state").Optional(),
		micros("updated_at", "the hub's clock"),
	}
}

// DeadLetter is an event that a plugin will not get again by itself, with its
// own copy of the event.
type DeadLetter struct{ ent.Schema }

// Annotations of the model.
func (DeadLetter) Annotations() []schema.Annotation { return table("avhub_dead_letters") }

// Fields of the model.
func (DeadLetter) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id"),
		field.String("plugin").SchemaType(text),
		field.String("key").SchemaType(text),
		field.Int64("position"),
		field.String("event_id").SchemaType(text),
		field.String("type").SchemaType(text),
		field.String("tenant_id").SchemaType(text).Default(""),
		field.Bytes("event").Comment("JSON: the journal's entry"),
		field.String("reason").SchemaType(text),
		field.Int("attempts").Default(0),
		field.Bytes("history").Optional().Comment("JSON: the last errors"),
		field.Bool("retry").Default(false).Comment("an operator wants it delivered again"),
		micros("created_at", "the hub's clock"),
		micros("updated_at", "the hub's clock"),
	}
}

// Indexes of the model.
func (DeadLetter) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("plugin", "position").Unique(),
		index.Fields("plugin", "retry"),
	}
}
