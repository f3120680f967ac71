package main

import (
	"errors"
	"fmt"

	"github.com/avhub/avhub/core/fanout"
	"github.com/spf13/cobra"
)

func (c *cli) pluginForget() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forget NAME",
		Short: "Remove everything that a plugin has left in the database",
		Long: "Removes the progress of a plugin that is not configured any more, with its blocked lanes, its\n" +
			"dead letters and what it remembered. The journal keeps for such a plugin what it has not got\n" +
			"yet, in case that it comes back; after this it does not. If the plugin is configured again it\n" +
			"begins as a new one.",
		Example: "  avhub plugin forget billing --dry-run",
		Args:    oneArg("the name of a plugin"),
	}
	flags := addConfigFlags(cmd)
	dry := cmd.Flags().Bool("dry-run", false, "only count what would be removed")
	yes := cmd.Flags().Bool("yes", false, "do not ask")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		return c.withData(cmd.Context(), flags, func(d data) error {
			for _, p := range d.cfg.Plugins {
				if p.Name == name {
					return wrongUse("plugin %s is in the configuration; take it out, and have the hub read that again, before it is forgotten", name)
				}
			}
			found, err := fanout.Forget(cmd.Context(), d.Store, name, true)
			if errors.Is(err, fanout.ErrNoSuchPlugin) {
				return fmt.Errorf("%w; `avhub plugin list` shows those that have", err)
			}
			if err != nil {
				return err
			}
			if !*dry {
				if !*yes {
					if err := c.confirm(fmt.Sprintf("this would remove the progress of plugin %s, %s", name, forgotten(found))); err != nil {
						return err
					}
				}
				if found, err = fanout.Forget(cmd.Context(), d.Store, name, false); err != nil {
					return err
				}
			}
			if *asJSON {
				return c.writeJSON(found)
			}
			did := "removed"
			if *dry {
				did = "would remove"
			}
			return c.write(fmt.Sprintf("%s the progress of plugin %s, %s\n", did, name, forgotten(found)))
		})
	}
	return cmd
}

func forgotten(f fanout.Forgotten) string {
	return fmt.Sprintf("%s, %s and what it remembered for %s", count(f.Lanes, "blocked lane"), count(f.DeadLetters, "dead letter"), count(f.States, "key"))
}
