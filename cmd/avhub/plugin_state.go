package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/avhub/avhub/core/fanout"
	"github.com/spf13/cobra"
)

// memoryJSON is what a plugin remembers for a key, as --json prints it.
type memoryJSON struct {
	fanout.Remembered
	Bytes int             `json:"bytes"`
	State json.RawMessage `json:"state,omitempty"`
}

func (c *cli) pluginState() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "state NAME [KEY]",
		Short: "Show what a plugin remembers",
		Long: "Lists the keys for which the plugin remembers something, or shows what it remembers for one.\n" +
			"Position is that of the last event with which it was stored. What the connector's schema calls\n" +
			"secret is hidden unless --reveal is given, and so is all text that its schema does not tell of.\n" +
			"Connectors that use the SDK have a schema; others may.",
		Example: "  avhub plugin state billing --prefix tenant:acme\n  avhub plugin state billing tenant:t1 --reveal",
		Args:    cobra.RangeArgs(1, 2),
	}
	flags := addConfigFlags(cmd)
	var prefix, after string
	var limit int
	var reveal bool
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys that begin with this `text`, such as tenant:")
	cmd.Flags().StringVar(&after, "after", "", "only keys beyond this `key`: the last one of the page before")
	cmd.Flags().IntVar(&limit, "limit", 50, "`number` of keys")
	cmd.Flags().BoolVar(&reveal, "reveal", false, "show secrets and hidden text, too")
	asJSON := jsonFlag(cmd, "a JSON array, or the object of one key")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 1 {
			return wrongUse("--limit must be at least 1")
		}
		if len(args) == 2 && (prefix != "" || after != "") {
			return wrongUse("--prefix and --after are for the list; leave them out to see one key")
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			schema, err := fanout.StateSchema(cmd.Context(), d.Store, args[0])
			if err != nil {
				return err
			}
			if len(args) == 2 {
				is, found, err := fanout.Remember(cmd.Context(), d.Store, args[0], args[1])
				if err != nil {
					return err
				}
				if !found {
					return fmt.Errorf("plugin %s remembers nothing for the key %q; avhub plugin state %s lists those that there are", args[0], clean(args[1]), args[0])
				}
				one := memoryJSON{is, len(is.State), shownState(is.State, schema, reveal)}
				if *asJSON {
					return c.writeJSON(one)
				}
				c.say("%s, as of position %d, %s", one.Key, one.Position, stamp(one.UpdatedAt))
				return c.write(pretty(one.State, "") + "\n")
			}
			list, err := fanout.Memory(cmd.Context(), d.Store, args[0], prefix, after, limit+1)
			if err != nil {
				return err
			}
			more := len(list) > limit
			if more {
				list = list[:limit]
			}
			if err := c.printMemory(list, schema, reveal, *asJSON); err != nil {
				return err
			}
			if more {
				c.say("there are more: go on with --after %s", clean(list[len(list)-1].Key))
			}
			return nil
		})
	}
	return cmd
}

func (c *cli) printMemory(list []fanout.Remembered, schema json.RawMessage, reveal, asJSON bool) error {
	rows := make([]memoryJSON, 0, len(list))
	for _, r := range list {
		rows = append(rows, memoryJSON{r, len(r.State), shownState(r.State, schema, reveal)})
	}
	if asJSON {
		return c.writeJSON(rows)
	}
	if len(rows) == 0 {
		c.say("it remembers nothing that is selected")
		return nil
	}
	t := newTable("KEY", "POSITION", "BYTES", "UPDATED", "STATE")
	for _, r := range rows {
		t.add(r.Key, strconv.FormatInt(r.Position, 10), strconv.Itoa(r.Bytes), stamp(r.UpdatedAt), string(r.State))
	}
	return t.print(c)
}

// shownState is what may be shown of a state.
func shownState(raw []byte, schema json.RawMessage, reveal bool) json.RawMessage {
	if reveal {
		return fanout.Revealed(raw)
	}
	return fanout.Shown(raw, schema)
}
