package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/avhub/avhub/plugins/provisioner/resource"
	"github.com/avhub/avhub/sdk/plugin"
)

// maxTenants bounds what is read of tenants, in bytes.
const maxTenants = 64 << 20

// planned is what would be done with one resource of a tenant.
type planned struct {
	Tenant   string         `json:"tenant"`
	Plan     string         `json:"plan"`
	Resource string         `json:"resource,omitempty"`
	Name     string         `json:"name,omitempty"`
	Phase    resource.Phase `json:"phase,omitempty"`
	resource.Op
}

func (c *cli) previewVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "preview [FILE]",
		Short: "show what would be done for tenants",
		Long: "Reads tenants as the hub prints them, from a file or from standard input, looks at what they have, and prints\n" +
			"what would be done. Nothing is changed. It goes by the very plan that the connector applies; only what the\n" +
			"connector remembers of a tenant is not known here.",
		Example: "  avhub org show acme --json | avhub-provisioner preview\n  avhub-provisioner preview tenants.json --json",
		Args:    between(0, 1, "one file, or none"),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := c.planAll(cmd.Context(), args, false)
			if err != nil {
				return err
			}
			return c.printPlan(all)
		},
	}
}

func (c *cli) driftVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "drift [FILE]",
		Short: "find tenants whose resources are not as they should be",
		Long: "Reads tenants as preview does, and prints only what differs: a resource that is missing, half made, open though\n" +
			"its tenant is suspended, or not ours. Nothing is changed. Exit code 1: something differs.",
		Example: "  avhub org list --json | avhub-provisioner drift",
		Args:    between(0, 1, "one file, or none"),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := c.planAll(cmd.Context(), args, true)
			if err != nil {
				return err
			}
			looked := len(all)
			all = slices.DeleteFunc(all, func(p planned) bool { return p.Kind == resource.Nothing })
			if err := c.printPlan(all); err != nil || len(all) == 0 {
				return err
			}
			return fmt.Errorf("%d of %d resources are not as they should be", len(all), looked)
		},
	}
}

func (c *cli) printPlan(all []planned) error {
	if c.json {
		return c.print(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(c.out, "everything is as it should be")
		return nil
	}
	rows := [][]string{{"TENANT", "PLAN", "RESOURCE", "NAME", "DO", "BECAUSE"}}
	for _, p := range all {
		rows = append(rows, []string{p.Tenant, orDash(p.Plan), orDash(p.Resource), orDash(p.Name), string(p.Kind), p.Why})
	}
	c.table(rows)
	return nil
}

// planAll plans for all tenants that are read.
func (c *cli) planAll(ctx context.Context, args []string, made bool) ([]planned, error) {
	in := c.in
	if len(args) == 1 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, fmt.Errorf("reading tenants: %w", err)
		}
		defer f.Close()
		in = f
	}
	orgs, err := readTenants(in)
	if err != nil {
		return nil, err
	}
	conn, err := c.open()
	if err != nil {
		return nil, err
	}
	tell, done := c.progress("tenants looked at")
	defer done()
	out := []planned{}
	for i, org := range orgs {
		some, err := conn.plan(ctx, org, made)
		if err != nil {
			return nil, fmt.Errorf("looking at tenant %s: %w", clean(org.TenantID), err)
		}
		out = append(out, some...)
		if tell != nil {
			tell(i+1, len(orgs))
		}
	}
	return out, nil
}

// plan plans for one tenant. made: what is not there was lost.
func (c *connector) plan(ctx context.Context, org plugin.Organization, made bool) ([]planned, error) {
	w, err := c.cfg.want(org, slices.Collect(maps.Keys(c.drivers)))
	if err != nil {
		return []planned{{Tenant: org.TenantID, Plan: org.Plan, Op: resource.Op{Kind: resource.Refuse, Why: err.Error()}}}, nil
	}
	var out []planned
	for _, n := range slices.Sorted(maps.Keys(w.phases)) {
		short, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		called, err := c.nameFor(short, n, w.slug, w.tenant)
		var have resource.Observed
		if err == nil {
			have, err = c.drivers[n].Observe(short, called)
		}
		cancel()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		if !have.Exists && w.phases[n].Ends() {
			continue
		}
		op := c.decide(w, n, w.phases[n], &held{Name: called, Made: made}, have)
		out = append(out, planned{Tenant: org.TenantID, Plan: org.Plan, Resource: n, Name: called, Phase: w.phases[n], Op: op})
	}
	return out, nil
}

// readTenants reads objects, or lists of them, one after the other.
func readTenants(in io.Reader) ([]plugin.Organization, error) {
	dec := json.NewDecoder(io.LimitReader(in, maxTenants))
	var out []plugin.Organization
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.New("reading tenants: it is no JSON; pipe the output of `avhub org list --json` or `avhub org show TENANT --json` in")
		}
		list := []json.RawMessage{raw}
		if raw[0] == '[' {
			if err := json.Unmarshal(raw, &list); err != nil {
				return nil, fmt.Errorf("reading tenants: %w", err)
			}
		}
		for _, one := range list {
			var org plugin.Organization
			if err := json.Unmarshal(one, &org); err != nil || org.TenantID == "" {
				return nil, errors.New("reading tenants: an object is no tenant as the hub prints one; it lacks tenant_id, or a member has the wrong type")
			}
			out = append(out, org)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("reading tenants: there are none")
	}
	return out, nil
}
