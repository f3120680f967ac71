package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
)

// Replay is an operator's wish that a plugin gets events again, or that it gets
// the mirror as it stands.
type Replay struct{ ent.Schema }

// Annotations of the model.
func (Replay) Annotations() []schema.Annotation { return table("avhub_replays") }

// Fields of the model.
func (Replay) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id"),
		field.String("plugin").SchemaType(text),
		field.String("kind").SchemaType(text).Comment("events or snapshot"),
		field.String("state").SchemaType(text).Default("running").Comment("running, done, cancelled or failed"),
		field.String("reason").SchemaType(text).Default("").Comment("why it failed"),
		field.Int64("after").Default(0).Comment("events beyond this position"),
		field.Int64("until").Default(0).Comment("and up to this one; of a snapshot: where the log goes on"),
		micros("since", "events received since then; 0: no bound"),
		micros("before", "events received before then; 0: no bound"),
		field.Bytes("types").Optional().Comment("JSON: patterns; none: all that the plugin gets"),
		field.String("tenant").SchemaType(text).Default(""),
		field.String("key").SchemaType(text).Default(""),
		field.Int("rate").Default(0).Comment("events in a second; 0: no limit"),
		field.Int("partitions").Default(1).Comment("of the plugin when it was made"),
		micros("created_at", "the clock of whoever made it"),
		micros("finished_at", "the clock of whoever ended it; 0: it goes on"),
	}
}

// Indexes of the model.
func (Replay) Indexes() []ent.Index { return []ent.Index{index.Fields("plugin", "state")} }

// ReplayPart is how far a replay has come in one partition.
type ReplayPart struct{ ent.Schema }

// Annotations of the model.
func (ReplayPart) Annotations() []schema.Annotation { return table("avhub_replay_parts") }

// Fields of the model.
func (ReplayPart) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").SchemaType(text).Comment("replay / partition"),
		field.Int64("replay"),
		field.Int("partition"),
		field.Int64("position").Default(0).Comment("everything up to here is settled"),
		field.String("place").SchemaType(text).Default("").Comment("the same of a snapshot: kind / id of a row"),
		field.Bytes("ahead").Optional().Comment("JSON: what is settled beyond that, and what fails"),
		field.Int64("applied").Default(0),
		field.Int64("skipped").Default(0),
		field.Int64("failed").Default(0).Comment("became dead letters"),
		field.Int64("deferred").Default(0).Comment("left to the live deliveries, which have them still to come"),
		field.Bool("done").Default(false),
		micros("updated_at", "the hub's clock"),
	}
}

// Indexes of the model.
func (ReplayPart) Indexes() []ent.Index { return []ent.Index{index.Fields("replay")} }
