// Package ent is the client for everything that avhub keeps in the team's
// database: the mirror (tables av_…), which applications query and join with
// their own tables, and the hub's own bookkeeping (tables avhub_…), which only
// the hub writes. All files but this one and those in schema/ and migrate/diff
// are generated: change the schema, then run `make generate`.
package ent

//go:generate go tool ent generate --feature sql/upsert --target . ./schema
