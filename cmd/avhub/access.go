package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/avhub/avhub/core/mirror/access"
	"github.com/avhub/avhub/core/mirror/ask"
	"github.com/spf13/cobra"
)

func (c *cli) accessVerbs() *cobra.Command {
	return c.group("access", "Ask who may use what", "", c.accessCheck(), c.accessFeatures())
}

// decisionJSON is a decision as --json prints it.
type decisionJSON struct {
	access.Decision
	Text string `json:"text"`
}

func (c *cli) accessCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check IDENTITY APPLICATION",
		Short: "Tell whether a person may use an application, and why not",
		Long: "Tells whether a person may use an application, in any tenant or in the one that --tenant\n" +
			"names. The exit code is 0 if so, and 1 if not.\n\n" +
			"The person is named by sub or email, the application by id, client id or slug, the tenant\n" +
			"by id or slug.",
		Example: "  avhub access check ann@example.com ledger-web\n  avhub access check usr_1 app_ledger --tenant acme --json",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 || args[0] == "":
				return wrongUse("the person is missing")
			case len(args) == 1 || args[1] == "":
				return wrongUse("the application is missing")
			case len(args) > 2:
				return wrongUse("unexpected argument %q after the application", args[2])
			}
			return nil
		},
	}
	flags := addConfigFlags(cmd)
	tenant := cmd.Flags().String("tenant", "", "ask about the tenant with this `id` or slug alone")
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		within := cmd.Flags().Changed("tenant")
		if within && *tenant == "" {
			return wrongUse("--tenant needs a tenant's id or slug")
		}
		return c.withData(cmd.Context(), flags, func(d data) error {
			ctx := cmd.Context()
			checker := access.New(d.Store, access.Options{Entries: -1})
			sub, err := c.one(ctx, d, "identity", args[0])
			if err != nil {
				return err
			}
			app, err := c.one(ctx, d, "app", args[1])
			if err != nil {
				return err
			}
			var decision access.Decision
			if within {
				org, err := c.one(ctx, d, "org", *tenant)
				if err != nil {
					return err
				}
				decision, err = checker.CheckIn(ctx, sub, app, org)
				if err != nil {
					return err
				}
			} else if decision, err = checker.Check(ctx, sub, app); err != nil {
				return err
			}
			return c.printDecision(decision, *asJSON)
		})
	}
	return cmd
}

func (c *cli) printDecision(d access.Decision, asJSON bool) error {
	var err error
	switch {
	case asJSON:
		err = c.writeJSON(decisionJSON{d, d.Text()})
	case d.Allowed:
		err = c.write(c.paint(c.out, green, "allowed") + "  " + clean(d.Text()) + "\n")
	default:
		err = c.write(c.paint(c.out, red, string(d.Reason)) + "  " + clean(d.Text()) + "\n")
	}
	if err == nil && !d.Allowed {
		return errReported
	}
	return err
}

// one returns the id that a name means: that of the one row that has it, or the
// name itself without one, as what the mirror has not heard of may be meant all
// the same.
func (c *cli) one(ctx context.Context, d data, noun, name string) (string, error) {
	r, err := ask.Find(noun)
	if err != nil {
		return "", err
	}
	found, err := ask.New(d.Store).Show(ctx, r, name)
	var several *ask.AmbiguousError
	switch {
	case errors.Is(err, ask.ErrNotFound):
		return name, nil
	case errors.As(err, &several):
		return "", fmt.Errorf("%q means several; name one by its id, `avhub %s show` tells more: %s", name, noun, strings.Join(several.Keys, ", "))
	case err != nil:
		return "", err
	}
	return found.Key(), nil
}

func (c *cli) accessFeatures() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "features TENANT_ID|SLUG",
		Short: "List the features that a tenant's plan has",
		Long: "Lists the features of a tenant, one a line, as the section features of the configuration has\n" +
			"them for its plan. A tenant that is suspended or deleted has none.",
		Args: oneArg("the tenant's id or slug"),
	}
	flags := addConfigFlags(cmd)
	asJSON := jsonFlag(cmd, "a JSON object")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.withSections(cmd.Context(), flags, []string{"storage", "features"}, func(d data) error {
			id, err := c.one(cmd.Context(), d, "org", args[0])
			if err != nil {
				return err
			}
			checker := access.New(d.Store, access.Options{Entries: -1, Features: d.cfg.Features})
			t, err := checker.Tenant(cmd.Context(), id)
			switch {
			case errors.Is(err, access.ErrUnknownTenant):
				return fmt.Errorf("the mirror has no tenant whose id or slug is %q; `avhub org list` shows what there is", args[0])
			case err != nil:
				return err
			}
			return c.printFeatures(t, checker.Features(t), *asJSON)
		})
	}
	return cmd
}

func (c *cli) printFeatures(t access.Tenant, features []string, asJSON bool) error {
	if asJSON {
		status := "active"
		if !t.Active() {
			status = strings.TrimPrefix(string(t.Status), "tenant_")
		}
		return c.writeJSON(struct {
			TenantID string   `json:"tenant_id"`
			Plan     string   `json:"plan"`
			Status   string   `json:"status"`
			Features []string `json:"features"`
		}{t.ID, t.Plan, status, append([]string{}, features...)})
	}
	switch {
	case !t.Active():
		c.say("%s has no features: %s", t.ID, t.Status.Text())
	case len(features) == 0:
		c.say("the plan %s of %s has no features; the section features of the configuration says which plan has which", t.Plan, t.ID)
	}
	var b strings.Builder
	for _, f := range features {
		b.WriteString(clean(f) + "\n")
	}
	return c.write(b.String())
}
