package main

import (
	"context"
	"strconv"

	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/core/store"
	"github.com/spf13/cobra"
)

func (c *cli) tenantVerbs() *cobra.Command {
	return c.group("tenant", "Look at tenants' own databases, and have them fed",
		"With mirror.tenants.mode: isolated each tenant's rows are also kept in a database of its\n"+
			"own. These verbs tell how far each of them is. They work beside a running hub, which does\n"+
			"what they ask for within a second.",
		c.tenantList(), c.tenantRetry(), c.tenantRebuild())
}

func (c *cli) tenantList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List tenants' own databases and how far they are",
		Long: "Lists tenants' own databases in the order of tenants' ids. Each holds everything that\n" +
			"concerns its tenant up to its position; the target is the last event that does. One that\n" +
			"failed is tried again by itself, at most five minutes later.",
		Example: "  avhub tenant list --behind",
		Args:    noArgs,
	}
	flags := addConfigFlags(cmd)
	behind := cmd.Flags().Bool("behind", false, "only those that are not up to date")
	limit := cmd.Flags().Int("limit", 50, "`number` of databases")
	after := cmd.Flags().String("after", "", "only tenants after this `id`, for the next page")
	asJSON := jsonFlag(cmd, "a JSON array")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *limit < 1 {
			return wrongUse("--limit must be at least 1")
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			list, err := isolated.List(cmd.Context(), d.Store, *behind, *after, *limit)
			if err != nil {
				return err
			}
			if *asJSON {
				return c.writeJSON(list)
			}
			return c.printTenants(list, *behind, len(list) == *limit)
		})
	}
	return cmd
}

func (c *cli) printTenants(list []isolated.Database, behind, more bool) error {
	if len(list) == 0 {
		if behind {
			c.say("no tenant's database is behind")
		} else {
			c.say("no tenant has a database of its own; mirror.tenants.mode: isolated makes them")
		}
		return nil
	}
	t := newTable("TENANT", "STATE", "POSITION", "TARGET", "SINCE", "ATTEMPTS", "NEXT TRY", "PLACE", "LAST ERROR")
	for _, d := range list {
		next := ""
		if d.NextAt != nil {
			next = stamp(*d.NextAt)
		}
		t.add(d.Tenant, d.State, strconv.FormatInt(d.Position, 10), strconv.FormatInt(d.Target, 10), stamp(d.Since),
			strconv.Itoa(d.Attempts), next, d.Place, d.LastError)
	}
	if err := t.print(c); err != nil {
		return err
	}
	if more {
		c.say("there may be more: --after %s", strconv.Quote(list[len(list)-1].Tenant))
	}
	return nil
}

func (c *cli) tenantRetry() *cobra.Command {
	return c.tenantOperation(&cobra.Command{
		Use:   "retry [TENANT]",
		Short: "Have a tenant's own database looked at now",
		Long: "Has a tenant's own database, or all of them, looked at at once and brought up to date: one\n" +
			"that failed without waiting for its next attempt, and one that was replaced by a backup or\n" +
			"removed, which the hub would find out only with the tenant's next event.",
		Example: "  avhub tenant retry ten_1\n  avhub tenant retry --all",
	}, "look at", isolated.Retry)
}

func (c *cli) tenantRebuild() *cobra.Command {
	return c.tenantOperation(&cobra.Command{
		Use:   "rebuild [TENANT]",
		Short: "Have a tenant's own database emptied and filled anew",
		Long: "Has the mirror's tables in a tenant's own database, or in all of them, emptied and filled\n" +
			"anew from the journal and what first fills have read: after a change of what the mirror\n" +
			"shows, or after the hub's own database was restored from a backup. Until that is done, rows\n" +
			"are missing there. Sessions and your own tables stay.",
		Example: "  avhub tenant rebuild ten_1\n  avhub tenant rebuild --all",
	}, "rebuild", isolated.Rebuild)
}

func (c *cli) tenantOperation(cmd *cobra.Command, what string, do func(context.Context, *store.Store, string) (int64, error)) *cobra.Command {
	flags := addConfigFlags(cmd)
	all := cmd.Flags().Bool("all", false, "all tenants' databases")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case *all && len(args) > 0:
			return wrongUse("--all is for all tenants; leave it out, or the id")
		case !*all:
			return oneArg("a tenant's id (or --all)")(cmd, args)
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tenant := ""
		if !*all {
			tenant = args[0]
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			n, err := do(cmd.Context(), d.Store, tenant)
			if err != nil {
				return err
			}
			if n == 0 && tenant != "" {
				c.say("tenant %q has no database of its own; see `avhub tenant list`", tenant)
				return errReported
			}
			c.say("the running hub will %s %s within a second or so; `avhub tenant list --behind` shows the progress", what, count(n, "database"))
			return nil
		})
	}
	return cmd
}
