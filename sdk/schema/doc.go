// Package schema turns a Go struct with tags into everything that a
// configuration needs: a JSON Schema, decoding with defaults, all mistakes of a
// document at once, redaction and a table for the documentation. What a field
// is gets said once, beside the field:
//
//	type Config struct {
//		APIKey  string           `json:"api_key" doc:"Key of the billing account." required:"true" secret:"true"`
//		Region  string           `json:"region" doc:"Where the data lives." enum:"eu|us" default:"eu"`
//		Timeout time.Duration    `json:"timeout" doc:"How long one call may take." default:"10s" min:"100ms" max:"1m"`
//		Plans   map[string]Plan  `json:"plans" doc:"What each plan costs." min:"1"`
//	}
//
// # Tags
//
//	json:"name"          the key, as in encoding/json; "-" leaves the field out
//	doc:"…"              one or more sentences for the person who writes the document
//	default:"…"          the value when the key is absent: text for text, numbers, bools,
//	                     durations and sizes; JSON for lists, maps and structs
//	enum:"a|b"           the only values allowed (of a list: of its elements)
//	min:"1" max:"9"      bounds, in the field's own notation ("5m", "1MiB"); of text, lists and
//	                     maps they bound the length (text in characters)
//	pattern:"^[a-z]+$"   a regular expression (RE2) that text must match (of a list: each element)
//	required:"true"      the key must be there, and not be empty text, list or map
//	secret:"true"        the value never shows in a problem, a schema or [Redacted]; holds for all below it
//	example:"…"          a value to show in the documentation
//
// # Types
//
// Text, bool, all integers and floats, [time.Duration] (text such as "5m"),
// [ByteSize] (text such as "1MiB"), slices, maps with text keys, nested and
// embedded structs, and pointers to any of these (nil when the key is absent).
// A type with UnmarshalText is text. Free-form values (any, map[string]any,
// json.RawMessage and every other type with UnmarshalJSON) take what JSON can say.
//
// # Rules of decoding
//
//   - A null is an absent key, so "key:" with nothing behind it in YAML takes the default.
//   - A number or bool is also accepted as text that spells it ("5432", "true"), as
//     values out of environment variables are always text. Nothing else is converted.
//   - Keys must match exactly.
//   - No problem ever quotes a value of the document, only its kind and its place. The one
//     exception is the error text of a type's own UnmarshalText or UnmarshalJSON, which is
//     left out for secret fields.
package schema
