package fanout

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/avhub/avhub/core/store"
)

// secretShown stands where a secret is.
const secretShown = "(secret)"

// StateSchema returns what a plugin last said that its states look like: a JSON
// Schema, or nothing if it says nothing.
func StateSchema(ctx context.Context, st *store.Store, plugin string) (raw json.RawMessage, err error) {
	err = st.ReadSQL().Query(ctx, func(rows *sql.Rows) error { return rows.Scan((*[]byte)(&raw)) },
		`SELECT state_schema FROM avhub_plugins WHERE id = ?`, plugin)
	if err != nil {
		return nil, fmt.Errorf("read what the states of plugin %s look like: %w", plugin, err)
	}
	return raw, nil
}

// Shown is what may be shown of a state, as JSON: everything but what the schema
// says is secret. Where the schema does not say what stands there, or there is
// none, all text is hidden.
func Shown(state []byte, schema json.RawMessage) json.RawMessage {
	if len(state) == 0 {
		return json.RawMessage("null")
	}
	var tree any
	if err := json.Unmarshal(state, &tree); err != nil {
		return unreadable(state)
	}
	var rules any
	if len(schema) > 0 {
		_ = json.Unmarshal(schema, &rules) // it was valid when it was stored; nil hides all text
	}
	out, err := json.Marshal(shown(tree, rules))
	if err != nil {
		return json.RawMessage(`"(cannot be shown)"`)
	}
	return out
}

// Revealed is a state as JSON, secrets and all.
func Revealed(state []byte) json.RawMessage {
	switch {
	case len(state) == 0:
		return json.RawMessage("null")
	case !json.Valid(state): // connectors in other languages may keep anything
		return unreadable(state)
	}
	return state
}

func unreadable(state []byte) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`"(%d bytes that are not JSON)"`, len(state)))
}

// followed are the words of JSON Schema that decide what a value is and that are
// followed here; plain ones, which only bound or describe it, are beside them. A
// schema with any other word is not understood.
var (
	followed = []string{"type", "properties", "additionalProperties", "items", "writeOnly"}
	plain    = []string{
		"$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "format", "enum", "const",
		"pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
		"required", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
	}
)

// shown walks a value and its schema side by side. A schema that is nil, or is not
// understood, hides text.
func shown(v, schema any) any {
	if schema == true {
		return v
	}
	rules, ok := schema.(map[string]any)
	if !ok {
		return hideText(v)
	}
	// Absent is as good as not set; anything but false is taken for secret.
	if secret, has := rules["writeOnly"]; has && secret != false {
		if v == nil || v == "" {
			return v
		}
		return secretShown
	}
	for word := range rules {
		if !slices.Contains(followed, word) && !slices.Contains(plain, word) {
			return hideText(v)
		}
	}
	switch v := v.(type) {
	case string:
		if !allows(rules, "string") {
			return hideText(v)
		}
	case []any:
		of, has := rules["items"]
		if !has && rules["type"] == nil {
			return v
		}
		for i := range v {
			v[i] = shown(v[i], of)
		}
	case map[string]any:
		properties, _ := rules["properties"].(map[string]any)
		rest, has := rules["additionalProperties"]
		if properties == nil && !has && rules["type"] == nil {
			return v
		}
		for k := range v {
			if of, known := properties[k]; known {
				v[k] = shown(v[k], of)
			} else {
				v[k] = shown(v[k], rest)
			}
		}
	}
	return v
}

// allows tells whether a schema takes values of a type.
func allows(rules map[string]any, kind string) bool {
	switch is := rules["type"].(type) {
	case nil:
		return true
	case string:
		return is == kind
	case []any:
		return slices.Contains(is, any(kind))
	}
	return false
}

func hideText(v any) any {
	switch v := v.(type) {
	case string:
		if v == "" {
			return v
		}
		return fmt.Sprintf("(text of %d)", utf8.RuneCountInString(v))
	case []any:
		for i := range v {
			v[i] = hideText(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = hideText(v[k])
		}
	}
	return v
}
