package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/avhub/avhub/sdk/schema"
)

// Show is the configuration in force as YAML, without its secrets: those that
// are tagged, passwords in URLs, every value of a plugin's config, env and
// command that came from ${…}, and what has the name of a secret in a plugin's
// config and env.
func (c *Config) Show() ([]byte, error) {
	s, err := schema.Of[Config]()
	if err != nil {
		return nil, err
	}
	order := map[string]int{}
	for i, field := range s.Fields() {
		order[field.Path] = i + 1
	}
	r := redactor{origin: c.origin}
	tree := r.redact(schema.Redacted(*c), nil, false)

	node, err := ordered(tree, "", order)
	if err != nil {
		return nil, fmt.Errorf("writing the configuration as YAML: %w", err)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return nil, fmt.Errorf("writing the configuration as YAML: %w", err)
	}
	return out.Bytes(), nil
}

// redactor hides what the tags of [Config] cannot know to be secret.
type redactor struct {
	origin *origin
}

// redact returns value without secrets; hidden says that all of it is one.
func (r redactor) redact(value any, path schema.Path, hidden bool) any {
	if inPlugin(path) {
		name, isKey := path[len(path)-1].(string)
		hidden = hidden || isKey && soundsSecret(name) || r.origin.isExpanded(path)
	}
	switch value := value.(type) {
	case map[string]any:
		for key, child := range value {
			value[key] = r.redact(child, path.Child(key), hidden)
		}
		return value
	case []any:
		for i, child := range value {
			value[i] = r.redact(child, path.Child(i), hidden)
		}
		return value
	case nil:
		return nil
	case string:
		if hidden && value != "" || strings.Contains(strings.ToLower(value), "password=") && !strings.Contains(value, "://") {
			return schema.RedactedText // the latter is a connection string
		}
		return RedactURL(value)
	}
	if hidden {
		return schema.RedactedText
	}
	return value
}

// inPlugin says whether path lies below a plugin's command, env or config.
func inPlugin(path schema.Path) bool {
	if len(path) < 4 || path[0] != "plugins" {
		return false
	}
	return path[2] == "command" || path[2] == "env" || path[2] == "config"
}

// ordered makes a YAML node with the keys in the order of the fields.
func ordered(value any, at string, order map[string]int) (*yaml.Node, error) {
	switch value := value.(type) {
	case map[string]any:
		node := &yaml.Node{Kind: yaml.MappingNode}
		below := func(key string) string { return strings.TrimPrefix(at+"."+key, ".") }
		keys := slices.SortedFunc(maps.Keys(value), func(a, b string) int {
			return cmp.Or(cmp.Compare(order[below(a)], order[below(b)]), cmp.Compare(a, b))
		})
		for _, key := range keys {
			if value[key] == nil && order[below(key)] > 0 {
				continue // not set
			}
			child, err := ordered(value[key], below(key), order)
			if err != nil {
				return nil, err
			}
			name := &yaml.Node{}
			name.SetString(key)
			node.Content = append(node.Content, name, child)
		}
		return node, nil
	case []any:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range value {
			child, err := ordered(item, at+"[]", order)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, child)
		}
		return node, nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: value.String()}, nil
	}
	node := &yaml.Node{}
	if err := node.Encode(value); err != nil {
		return nil, err
	}
	return node, nil
}
