package main

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/avhub/avhub/core/fanout"
	"github.com/spf13/cobra"
)

func (c *cli) pluginVerbs() *cobra.Command {
	return c.group("plugin", "Look at plugins", "", c.pluginNew(), c.pluginList(), c.pluginDescribe(), c.pluginVerify())
}

// pluginJSON is a plugin as --json prints it. One that has never run has no
// progress.
type pluginJSON struct {
	fanout.Progress
	UpdatedAt  *time.Time `json:"updated_at"`
	Configured bool       `json:"configured"`
}

func (c *cli) pluginList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List plugins and how far they have come",
		Long: "Lists the plugins of the configuration, and those that have left progress in the database,\n" +
			"with the position up to which everything is settled, how many events are beyond it, and\n" +
			"what is in trouble.",
		Args: noArgs,
	}
	flags := addConfigFlags(cmd)
	asJSON := jsonFlag(cmd, "a JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.withData(cmd.Context(), flags, func(d data) error {
			progress, err := fanout.Plugins(cmd.Context(), d.Store)
			if err != nil {
				return err
			}
			list := make([]pluginJSON, 0, len(progress))
			for _, p := range progress {
				list = append(list, pluginJSON{Progress: p, UpdatedAt: &p.UpdatedAt})
			}
			for _, p := range d.cfg.Plugins {
				i := slices.IndexFunc(list, func(l pluginJSON) bool { return l.Plugin == p.Name })
				if i < 0 {
					list = append(list, pluginJSON{Progress: fanout.Progress{Plugin: p.Name, State: "never started"}})
					i = len(list) - 1
				}
				list[i].Configured = true
			}
			slices.SortFunc(list, func(a, b pluginJSON) int { return cmp.Compare(a.Plugin, b.Plugin) })
			if *asJSON {
				return c.writeJSON(list)
			}
			return c.printPlugins(list)
		})
	}
	return cmd
}

func (c *cli) printPlugins(list []pluginJSON) error {
	if len(list) == 0 {
		c.say("no plugins; add one below plugins: in the configuration")
		return nil
	}
	t := newTable("PLUGIN", "STATE", "VERSION", "POSITION", "WAITING", "BLOCKED", "DEAD", "AS OF")
	for _, p := range list {
		state := p.State
		if !p.Configured {
			state += " (not configured any more)"
		}
		number := func(n int64) string { return strconv.FormatInt(n, 10) }
		t.add(p.Plugin, state, p.Version, number(p.Position), number(p.Lag), number(p.Lanes), number(p.DeadLetters), stamp(p.Progress.UpdatedAt))
	}
	if err := t.print(c); err != nil {
		return err
	}
	for _, p := range list {
		if p.Reason != "" {
			c.say("%s: %s", p.Plugin, p.Reason)
		}
	}
	return nil
}
