package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/core/plugin"
	"github.com/spf13/cobra"
)

// describedJSON is a plugin as describe --json prints it. Members are only ever
// added.
type describedJSON struct {
	Plugin       string          `json:"plugin"` // its name in the configuration
	Connector    string          `json:"connector"`
	Version      string          `json:"version"`
	Summary      string          `json:"summary"`
	Events       []string        `json:"events"`
	Order        plugin.Order    `json:"order"`
	Coalesce     bool            `json:"coalesce"`
	Counts       bool            `json:"counts"`
	Body         bool            `json:"body"` // it asks for the bytes that the provider sent
	Notifies     bool            `json:"notifies"`
	KeepsHistory bool            `json:"keeps_history"`
	ConfigSchema json.RawMessage `json:"config_schema,omitempty"`
	StateSchema  json.RawMessage `json:"state_schema,omitempty"` // of what it remembers for a key
}

func (c *cli) pluginDescribe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: "Tell what a plugin is and how it is configured",
		Long: "Starts a plugin of the configuration once and asks what it is, which events it wants, and\n" +
			"which keys its own configuration has. It is not configured and reaches nothing outside.",
		Args: oneArg("the name of a plugin"),
	}
	flags := addConfigFlags(cmd)
	asJSON := jsonFlag(cmd, "a JSON object, with the JSON Schema of the configuration")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := c.load(flags)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(cfg.Plugins, func(p config.Plugin) bool { return p.Name == args[0] })
		if i < 0 {
			return fmt.Errorf("the configuration has no plugin %q; `avhub plugin list` shows those it has", args[0])
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), pluginWithin)
		defer cancel()
		// Whether its configuration is good is check's business.
		_, info, err := plugin.Check(ctx, hub.Spec(cfg.Plugins[i], json.RawMessage("{}")), plugin.Options{Log: c.logger(cfg.Log, c.err), Pin: plugin.Locker(cfg.LockFile(), args[0])})
		if err != nil {
			return fmt.Errorf("asking plugin %s: %w; `avhub check` looks at its configuration", args[0], err)
		}
		if *asJSON {
			return c.writeJSON(describedJSON{
				args[0], info.Name, info.Version, info.Summary, info.Events, info.Order, info.Coalesce, info.Counts, info.Body,
				info.Notifies, info.KeepsHistory, info.ConfigSchema, info.StateSchema,
			})
		}
		return c.printDescribed(info)
	}
	return cmd
}

func (c *cli) printDescribed(info plugin.Info) error {
	text := fmt.Sprintf("%s %s: %s\n", c.paint(c.out, bold, clean(info.Name)), clean(info.Version), clean(info.Summary))
	text += fmt.Sprintf("wants %s, in order per %s\n", clean(strings.Join(info.Events, ", ")), clean(string(info.Order)))
	if info.Coalesce {
		text += "of several waiting events of one key it takes the newest\n"
	}
	if info.Counts {
		text += "its organizations come with their subscriptions, licenses and members\n"
	}
	if info.Body {
		text += "it gets the bytes that the provider sent\n"
	}
	if info.Notifies {
		text += "every event is an effect of its own\n"
	}
	if info.KeepsHistory {
		text += "what it leaves outside tells the way, not only where things stand\n"
	}
	var schema schemaNode
	if len(info.ConfigSchema) > 0 {
		if err := json.Unmarshal(info.ConfigSchema, &schema); err != nil {
			return fmt.Errorf("reading the JSON Schema of the plugin's configuration: %w", err)
		}
	}
	t := newTable("KEY", "TYPE", "DEFAULT", "")
	t.whole = len(t.head) - 1
	schema.rows(t, "", 0)
	if len(t.rows) == 0 {
		return c.write(text + "It has no configuration.\n")
	}
	if err := c.write(text + "\n"); err != nil {
		return err
	}
	return t.print(c)
}

// schemaNode is what is read of a JSON Schema.
type schemaNode struct {
	Type        any                    `json:"type"` // a name, or several
	Description string                 `json:"description"`
	Default     json.RawMessage        `json:"default"`
	Enum        []any                  `json:"enum"`
	Required    []string               `json:"required"`
	Properties  map[string]*schemaNode `json:"properties"`
	Items       *schemaNode            `json:"items"`
	WriteOnly   bool                   `json:"writeOnly"`
}

// maxSchemaDepth is deeper than any configuration that people write.
const maxSchemaDepth = 20

// rows adds the keys below a node to a table, required ones first.
func (n *schemaNode) rows(t *table, at string, depth int) {
	if n == nil || depth > maxSchemaDepth {
		return
	}
	keys := slices.SortedFunc(maps.Keys(n.Properties), func(a, b string) int {
		if x, y := slices.Contains(n.Required, a), slices.Contains(n.Required, b); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, key := range keys {
		child := n.Properties[key]
		if child == nil {
			continue
		}
		var notes []string
		if slices.Contains(n.Required, key) {
			notes = append(notes, "Required.")
		}
		if child.Description != "" {
			notes = append(notes, child.Description)
		}
		if len(child.Enum) > 0 {
			notes = append(notes, fmt.Sprintf("One of %v.", child.Enum))
		}
		if child.WriteOnly {
			notes = append(notes, "Secret.")
		}
		kind, _ := child.Type.(string)
		def := ""
		if len(child.Default) > 0 {
			def = plain(child.Default)
		}
		t.add(at+key, kind, def, strings.Join(notes, " "))
		child.rows(t, at+key+".", depth+1)
		child.Items.rows(t, at+key+"[].", depth+1)
	}
}
