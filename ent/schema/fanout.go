package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// Cursor is the progress of one partition of a plugin: everything of that
// partition at or below its position is settled or belongs to a lane. It is also
// the lease by which one hub at a time works on the partition.
type Cursor struct{ ent.Schema }

// Annotations of the model.
func (Cursor) Annotations() []schema.Annotation { return table("avhub_cursors") }

// Fields of the model.
func (Cursor) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Comment("plugin / partition"),
		field.String("plugin").SchemaType(text),
		field.Int("partition").Default(0),
		field.Int64("position").Default(0),
		field.Int64("epoch").Default(0).
			Comment("fencing number: grows with every owner, checked in every commit"),
		field.String("owner").SchemaType(text).Default("").Comment("the hub that delivers"),
		micros("expires_at", "the database's clock: the lease ends; 0: it is free"),
		field.Bytes("floors").Optional().
			Comment("JSON: where the partitions of former divisions stood when this one began"),
		field.String("state").SchemaType(text).Default("").Comment("what the plugin is doing"),
		field.String("reason").SchemaType(text).Default("").Comment("why it is not running"),
		field.String("version").SchemaType(text).Default(""),
		field.Int64("restarts").Default(0).Comment("how often the owner started its process again"),
		field.String("config_hash").SchemaType(text).Default("").
			Comment("the configuration that it halted with"),
		micros("breaker", "the hub's clock: since when most keys fail, so that only probes are delivered; 0: it is closed"),
		micros("updated_at", "the owner's clock; it grows as long as the owner is alive"),
	}
}

// Plugin is what holds for all partitions of a plugin, and what operators want
// of it.
type Plugin struct{ ent.Schema }

// Annotations of the model.
func (Plugin) Annotations() []schema.Annotation { return table("avhub_plugins") }

// Fields of the model.
func (Plugin) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Comment("its name"),
		field.Int("partitions").Default(1).Comment("into how many its keys are divided"),
		field.String("keyed_by").SchemaType(text).Default("").
			Comment("the order that divides its keys: tenant or subject; empty: not known yet"),
		field.Bool("paused").Default(false).Comment("an operator wants no deliveries"),
		field.String("pause_reason").SchemaType(text).Default(""),
		micros("needs_backfill", "since when events are gone that it never got; 0: none are"),
		field.Int64("restart").Default(0).Comment("counts an operator's wishes to start its process anew"),
		field.Int64("start_position").Default(0).Comment("where a cursor of it begins that is made anew"),
		field.Bytes("events").Optional().Comment("JSON: the patterns of the types that it gets"),
		field.String("ordering").SchemaType(text).Default("").Comment("within what it gets events in order"),
		field.Bytes("state_schema").Optional().Comment("JSON Schema of what it remembers for a key"),
		micros("updated_at", "the clock of whoever changed it"),
	}
}

// HubPresence is a hub that is alive, or was not long ago.
type HubPresence struct{ ent.Schema }

// Annotations of the model.
func (HubPresence) Annotations() []schema.Annotation { return table("avhub_hubs") }

// Fields of the model.
func (HubPresence) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Comment("random: a hub that is started again is another one"),
		field.String("name").SchemaType(text).Comment("for people: host and process"),
		field.String("plugins").SchemaType(text).Default("").Comment("JSON: names of those that it would deliver to"),
		micros("started", "the database's clock"),
		micros("expires_at", "the database's clock: until then it counts as alive"),
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
		field.Int("slot").Default(-1).Comment("of the key, which decides its partition; -1: not computed yet"),
		field.Int64("head").Comment("position of the first unsettled event"),
		field.Int("attempts").Default(0).Comment("failed attempts at the head"),
		micros("since", "when the head first failed"),
		micros("next_at", "when the head is tried again"),
		field.Int64("spent").Default(0).Comment("how much of retry_for the head has used up (microseconds)"),
		micros("failed_at", "when the head last failed; 0: the wait since then does not count"),
		field.Int64("parked").Default(0).
			Comment("position of the dead letter that keeps the lane from going on; 0: none does"),
		field.String("last_error").SchemaType(text).Default(""),
		field.Bytes("history").Optional().Comment("JSON: the last errors"),
		field.Int64("discard").Default(0).
			Comment("an operator gave up the event at this position"),
	}
}

// Indexes of the model.
func (Lane) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("plugin", "next_at"),
		index.Fields("plugin", "head"),
		index.Fields("plugin").StorageKey("avhub_lanes_slotless").Annotations(entsql.IndexWhere("slot < 0")),
	}
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
		field.Int("slot").Default(-1).Comment("of the key, which decides its partition; -1: not computed yet"),
		field.Int64("position"),
		field.String("event_id").SchemaType(text),
		field.String("type").SchemaType(text),
		field.String("tenant_id").SchemaType(text).Default(""),
		field.Bytes("event").Comment("JSON: the journal's entry"),
		field.String("reason").SchemaType(text),
		field.Int("attempts").Default(0),
		field.Bytes("history").Optional().Comment("JSON: the last errors"),
		field.Bool("retry").Default(false).Comment("an operator wants it delivered again"),
		field.Int64("replay").Default(0).Comment("the replay in which it failed; 0: none"),
		micros("created_at", "the hub's clock"),
		micros("updated_at", "the hub's clock"),
	}
}

// Indexes of the model.
func (DeadLetter) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("plugin", "position", "event_id").Unique(),
		index.Fields("plugin", "retry"),
		index.Fields("plugin").StorageKey("avhub_dead_letters_slotless").Annotations(entsql.IndexWhere("slot < 0")),
	}
}
