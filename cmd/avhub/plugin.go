package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/plugin"
	"github.com/spf13/cobra"
)

func (c *cli) pluginVerbs() *cobra.Command {
	return c.group("plugin", "Look at plugins, and steer them", "", c.pluginNew(), c.pluginList(), c.pluginDescribe(), c.pluginState(),
		c.pluginPause(), c.pluginResume(), c.pluginRestart(), c.pluginReset(), c.pluginLock(), c.pluginVerify(), c.pluginForget())
}

// pluginJSON is a plugin as --json prints it. One that has never run has no
// progress.
type pluginJSON struct {
	fanout.Progress
	UpdatedAt  *time.Time `json:"updated_at"`
	Configured bool       `json:"configured"`
	// SHA256 is that of the program as it is now; Locked tells whether the lock
	// file names it, and is null when there is none.
	SHA256 string `json:"sha256,omitempty"`
	Locked *bool  `json:"locked"`
}

func (c *cli) pluginList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List plugins and how far they have come",
		Long: "Lists the plugins of the configuration, and those that have left progress in the database,\n" +
			"with the position up to which everything is settled, how many events are beyond it, and\n" +
			"what is in trouble. The hash is that of the program as it is now, with ✓ if avhub.lock has\n" +
			"the same, and ✗ if it has not. A plugin is stale when its hub ended without a word, or\n" +
			"cannot reach the database; AS OF tells when it was last seen. HUB is who delivers. A plugin\n" +
			"that is divided into partitions has a line for each below its own.",
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
				list[i].SHA256, list[i].Locked = lockedAs(d.cfg.LockFile(), p)
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
	t := newTable("PLUGIN", "STATE", "VERSION", "HASH", "POSITION", "WAITING", "BLOCKED", "DEAD", "RESTARTS", "AS OF", "HUB")
	for _, p := range list {
		state := p.State
		if !p.Configured {
			state += " (not configured any more)"
		}
		number := func(n int64) string { return strconv.FormatInt(n, 10) }
		t.add(p.Plugin, state, p.Version, p.hash(), number(p.Position), number(p.Lag), number(p.Lanes), number(p.DeadLetters),
			number(p.Restarts), stamp(p.Progress.UpdatedAt), p.Owner)
		for _, part := range p.Partitions {
			if len(p.Partitions) == 1 {
				break
			}
			t.add(fmt.Sprintf("  %d of %d", part.Partition, len(p.Partitions)), part.State, part.Version, "", number(part.Position),
				number(part.Lag), "", "", number(part.Restarts), stamp(part.UpdatedAt), part.Owner)
		}
	}
	if err := t.print(c); err != nil {
		return err
	}
	for _, p := range list {
		if p.State == fanout.Stale {
			c.say("%s: not seen since %s: its hub (%s) was %s then, and ended without a word or cannot reach the database",
				p.Plugin, stamp(p.Progress.UpdatedAt), p.Owner, p.LastState)
		}
		if p.Reason != "" {
			c.say("%s: %s", p.Plugin, p.Reason)
		}
	}
	return nil
}

// hash is the beginning of the program's hash, with what the lock file says of it.
func (p pluginJSON) hash() string {
	if p.SHA256 == "" {
		return ""
	}
	mark := "-"
	if p.Locked != nil {
		if mark = "✗"; *p.Locked {
			mark = "✓"
		}
	}
	return p.SHA256[:12] + " " + mark
}

// lockedAs looks at a plugin's program and the lock file. What cannot be read is
// empty, or not locked: check and the hub say why.
func lockedAs(lock string, p config.Plugin) (sum string, locked *bool) {
	sum, _ = plugin.HashProgram(p.Command) // a program that is not there has none
	pin, err := plugin.Locker(lock, p.Name)()
	if err == nil && pin == nil {
		return sum, nil
	}
	same := err == nil && pin.SHA256 == sum
	return sum, &same
}
