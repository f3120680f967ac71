package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avhub/avhub/plugins/provisioner/name"
	"github.com/avhub/avhub/plugins/provisioner/resource"
)

// shown is a resource of a tenant.
type shown struct {
	Resource   string            `json:"resource"`
	Name       string            `json:"name"`
	Phase      resource.Phase    `json:"phase"`
	Since      time.Time         `json:"since"`
	Due        time.Time         `json:"due,omitzero"`
	Open       bool              `json:"open"`
	Whole      bool              `json:"whole"`
	References map[string]string `json:"references,omitempty"`

	mark resource.Mark
}

// show finds what carries a tenant's mark.
func (c *connector) show(ctx context.Context, tenant string) ([]shown, error) {
	out := []shown{}
	for _, n := range slices.Sorted(maps.Keys(c.drivers)) {
		all, err := c.list(ctx, n, "_"+name.Hash(tenant))
		if err != nil {
			return nil, err
		}
		for _, f := range all {
			if f.Mark.Tenant != tenant {
				continue
			}
			have, err := c.drivers[n].Observe(ctx, f.Name)
			if err != nil {
				return nil, fmt.Errorf("resource %s: %w", n, err)
			}
			out = append(out, shown{n, f.Name, f.Mark.Phase, f.Mark.Since, f.Mark.Due, have.Open, have.Whole, have.References, f.Mark})
		}
	}
	return out, nil
}

// of opens the configuration, and finds a tenant's resources.
func (c *cli) of(ctx context.Context, tenant string) (*connector, []shown, error) {
	conn, err := c.open()
	if err != nil {
		return nil, nil, err
	}
	all, err := conn.show(ctx, tenant)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("nothing carries the mark of tenant %s; it is named by its id, not by its slug", clean(tenant))
	}
	return conn, all, err
}

func (c *cli) showVerb() *cobra.Command {
	return &cobra.Command{
		Use:     "show TENANT",
		Short:   "show what a tenant has",
		Long:    "Finds all that carries the mark of a tenant, which is named by its id. It needs no hub.",
		Example: "  avhub-provisioner show tnt_42",
		Args:    between(1, 1, "the id of a tenant"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, all, err := c.of(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if c.json {
				return c.print(all)
			}
			rows := [][]string{{"RESOURCE", "NAME", "PHASE", "SINCE", "DELETED AT", "USABLE", "WHERE"}}
			for _, s := range all {
				var where []string
				for _, k := range slices.Sorted(maps.Keys(s.References)) {
					where = append(where, k+"="+s.References[k])
				}
				rows = append(rows, []string{s.Resource, s.Name, string(s.Phase), when(s.Since), when(s.Due), fmt.Sprint(s.Open), strings.Join(where, " ")})
			}
			c.table(rows)
			return nil
		},
	}
}

func (c *cli) restoreVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "restore TENANT",
		Short: "open what was closed because a tenant, or its right to it, ended",
		Long: "Opens every deleted or surplus resource of a tenant again, and takes its end away. What the hub says of the tenant\n" +
			"still counts: with the tenant's next event, the resource goes back to what its plan and status say.",
		Example: "  avhub-provisioner restore tnt_42",
		Args:    between(1, 1, "the id of a tenant"),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, all, err := c.of(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			all = slices.DeleteFunc(all, func(s shown) bool { return !s.Phase.Ends() })
			for i, s := range all {
				m := s.mark
				m.Phase, m.Since, m.Due = resource.Active, c.now().UTC().Truncate(time.Second), time.Time{}
				if err := conn.drivers[s.Resource].Put(cmd.Context(), s.Name, m, resource.May{}); err != nil {
					return fmt.Errorf("restoring %s: %w", s.Name, err)
				}
				all[i].Phase, all[i].Since, all[i].Due, all[i].Open = m.Phase, m.Since, m.Due, true
				if have, err := conn.drivers[s.Resource].Observe(cmd.Context(), s.Name); err == nil {
					all[i].References = have.References
				}
			}
			if c.json {
				return c.print(all)
			}
			for _, s := range all {
				fmt.Fprintf(c.out, "%s can be used again\n", s.Name)
			}
			if len(all) == 0 {
				fmt.Fprintln(c.out, "nothing of it has ended")
			}
			return nil
		},
	}
}

func (c *cli) purgeVerb() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "purge [TENANT]",
		Short: "delete for ever what is due, or what ended of one tenant",
		Long: "Without a tenant: everything whose time has come, as the connector itself does. With the id of a tenant: all of it\n" +
			"that has ended, before its time. Without --yes, it only says what would be deleted. Only resources with\n" +
			"deprovision: delete are deleted, and only with allow_destroy: true.",
		Example: "  avhub-provisioner purge\n  avhub-provisioner purge --yes\n  avhub-provisioner purge tnt_42 --yes",
		Args:    between(0, 1, "the id of a tenant, or nothing"),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "delete")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		conn, err := c.open()
		if err != nil {
			return err
		}
		tell, done := c.progress("resources deleted")
		defer done()
		out, err := conn.purge(cmd.Context(), args, yes, tell)
		done()
		if c.json {
			return errors.Join(c.print(out), err)
		}
		if len(out) == 0 && err == nil {
			fmt.Fprintln(c.out, "nothing is due")
			return nil
		}
		if len(out) > 0 {
			rows := [][]string{{"TENANT", "RESOURCE", "NAME", "PHASE", "DUE", "OUTCOME"}}
			for _, s := range out {
				rows = append(rows, []string{s.Tenant, s.Resource, s.Name, string(s.Phase), when(s.Due), strings.TrimSuffix(s.Outcome+": "+s.Problem, ": ")})
			}
			c.table(rows)
		}
		return err
	}
	return cmd
}

// purge deletes what is due, or what has ended of one tenant. Without yes, the
// outcome is "would be deleted".
func (c *connector) purge(ctx context.Context, tenant []string, yes bool, tell func(done, of int)) ([]swept, error) {
	ends := func(f resource.Found) bool { return !f.Mark.Due.IsZero() && !c.now().Before(f.Mark.Due) }
	if len(tenant) > 0 {
		ends = func(f resource.Found) bool { return f.Mark.Tenant == tenant[0] }
	}
	end := c.destroy
	outcome := "deleted"
	if !yes {
		end = func(context.Context, string, resource.Found) error { return nil }
		outcome = "would be deleted"
	}
	return c.sweepThose(ctx, ends, end, outcome, tell)
}
