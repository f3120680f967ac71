package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/avhub/avhub/core/fanout"
	"github.com/spf13/cobra"
)

func (c *cli) deliveryPending() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pending",
		Short: "Count what was never delivered",
		Long: "Counts, for each plugin, the events that it should get and was never given with success: those\n" +
			"beyond its place in the journal, those in blocked lanes, and dead letters. With --tenant, those of\n" +
			"one tenant. Nothing that is not in this list was left out.",
		Example: "  avhub delivery pending\n  avhub delivery pending --plugin billing --tenant t1 --json",
		Args:    noArgs,
	}
	flags := addConfigFlags(cmd)
	var name, tenant string
	cmd.Flags().StringVar(&name, "plugin", "", "only the plugin with this `name`")
	cmd.Flags().StringVar(&tenant, "tenant", "", "only events of the tenant with this `id`")
	asJSON := jsonFlag(cmd, "a JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		return c.withData(ctx, flags, func(d data) error {
			plugins, err := fanout.Plugins(ctx, d.Store)
			if err != nil {
				return err
			}
			names := []string{name}
			if name == "" {
				names = nil
				for _, p := range plugins {
					names = append(names, p.Plugin)
				}
			}
			list := []fanout.Pending{}
			for _, n := range names {
				p, err := fanout.Never(ctx, d.Store, n, tenant)
				if errors.Is(err, fanout.ErrUndescribed) && name == "" {
					c.say("%s", err)
					continue
				}
				if err != nil {
					return err
				}
				list = append(list, p)
			}
			if *asJSON {
				return c.writeJSON(list)
			}
			return c.printPending(list)
		})
	}
	return cmd
}

func (c *cli) printPending(list []fanout.Pending) error {
	if len(list) == 0 {
		c.say("no plugin has been started on this database")
		return nil
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	t := newTable("PLUGIN", "POSITION", "WAITING", "BLOCKED", "LANES", "DEAD", "TYPES")
	for _, p := range list {
		var types []string
		for _, typ := range slices.Sorted(maps.Keys(p.Types)) {
			types = append(types, fmt.Sprintf("%s %d", typ, p.Types[typ]))
		}
		t.add(p.Plugin, number(p.Position), number(p.Waiting), number(p.Blocked), number(p.Lanes), number(p.DeadLetters), strings.Join(types, ", "))
	}
	return t.print(c)
}
