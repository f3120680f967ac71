package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/core/mirror/backfill"
	"github.com/spf13/cobra"
)

// backfillFlags are the flags of backfill.
type backfillFlags struct {
	source           string
	tenants, clients []string
	dry, verify      bool
	restart, json    bool
}

func (f backfillFlags) check() error {
	named := len(f.tenants)+len(f.clients) > 0
	switch {
	case f.verify && (f.dry || f.restart):
		return wrongUse("--verify writes nothing by itself; leave out --dry-run and --restart")
	case f.restart && (f.dry || named):
		return wrongUse("--restart is for a whole run that was interrupted; leave it out with --dry-run, --tenant and --client, which always read anew")
	case slices.Contains(f.tenants, "") || slices.Contains(f.clients, ""):
		return wrongUse("--tenant and --client take an id")
	}
	return nil
}

func (c *cli) backfillVerb() *cobra.Command {
	var f backfillFlags
	cmd := &cobra.Command{
		Use:   "backfill",
		Short: "Read the members who were there before the first event",
		Long: "Webhooks tell what changes from now on. This reads who is there already, over the provider's\n" +
			"integration API, and puts them into the mirror: people, memberships, access, and the tenants\n" +
			"and applications that they belong to. What an event said is never overridden.\n\n" +
			"Credentials and what to read are in the configuration, under api of the source. A run that was\n" +
			"interrupted within the last six hours is gone on with. It works while hubs run.",
		Example: "  avhub backfill --dry-run\n  avhub backfill\n  avhub backfill --tenant tnt_1\n  avhub backfill --verify",
		Args:    noArgs,
	}
	config := addConfigFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.source, "source", "", "only the source of this `name` (default: all that have credentials)")
	flags.StringArrayVar(&f.tenants, "tenant", nil, "read the members of the tenant with this `id`, and of nothing that is not named; repeatable")
	flags.StringArrayVar(&f.clients, "client", nil, "the same for the application with this client `id`; repeatable")
	flags.BoolVar(&f.dry, "dry-run", false, "only tell what would change")
	flags.BoolVar(&f.verify, "verify", false, "only compare the mirror with the provider; exit code 1 if they differ")
	flags.BoolVar(&f.restart, "restart", false, "begin anew instead of going on with a run that was interrupted")
	asJSON := jsonFlag(cmd, "a JSON array with a summary for each source")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f.json = *asJSON
		if err := f.check(); err != nil {
			return err
		}
		return c.withSections(cmd.Context(), config, []string{"storage", "mirror", "sources", "log"}, func(d data) error {
			sources, err := f.sources(d.cfg)
			if err != nil {
				return err
			}
			return c.backfill(cmd.Context(), f, d, sources)
		})
	}
	return cmd
}

// sources returns those that can be read, and an error that says what is missing.
func (f backfillFlags) sources(cfg *config.Config) ([]config.Source, error) {
	var names, missing []string
	var found []config.Source
	for i, s := range cfg.Sources {
		names = append(names, s.Name)
		if f.source != "" && s.Name != f.source {
			continue
		}
		switch at := fmt.Sprintf("sources[%d].api", i); {
		case s.API.ClientID == "" || s.API.ClientSecret == "":
			missing = append(missing, at+".client_id")
		case s.BaseURL() == "":
			missing = append(missing, at+".url")
		default:
			found = append(found, s)
		}
	}
	switch {
	case len(names) == 0:
		return nil, errors.New("the configuration has no sources, so there is no provider to read from")
	case f.source != "" && !slices.Contains(names, f.source):
		return nil, wrongUse("there is no source %q; there is %s", f.source, strings.Join(names, ", "))
	case len(found) == 0:
		return nil, fmt.Errorf("%s is not set: reading members takes credentials of a machine that may read them. "+
			"Enter client_id and client_secret under api of the source, see docs/backfill.md", strings.Join(missing, ", "))
	case len(found) > 1 && len(f.tenants)+len(f.clients) > 0:
		return nil, wrongUse("--tenant and --client name something of one source; say which with --source: %s", strings.Join(names, ", "))
	}
	return found, nil
}

func (c *cli) backfill(ctx context.Context, f backfillFlags, d data, sources []config.Source) error {
	line := c.newProgress()
	log := c.logger(d.cfg.Log, line)
	mirror := hub.NewMirror(d.Store, d.cfg, log)
	differ := false
	results := []any{} // for --json
	var failed error
	for _, source := range sources {
		o := backfill.Options{
			Source: source, Client: backfill.NewClient(source, log), Store: d.Store, Mirror: mirror, Log: log,
			Tenants: f.tenants, Clients: f.clients, DryRun: f.dry, Restart: f.restart, Progress: line.backfill(),
		}
		var shown any
		var err error
		if f.verify {
			shown, err = c.verifyOne(ctx, f, o, line, &differ)
		} else {
			shown, err = c.backfillOne(ctx, f, o, line, &differ)
		}
		results = append(results, shown)
		if err != nil {
			failed = fmt.Errorf("%s: %w", source.Name, err)
			break
		}
	}
	if f.json {
		if err := c.writeJSON(results); err != nil {
			return err
		}
	}
	if ctx.Err() != nil && !f.verify && !f.dry {
		c.say("what was read is kept; the same command goes on with the rest")
	}
	if failed == nil && differ {
		return errReported
	}
	return failed
}

// backfillOne reads one source and tells of it. incomplete is set if not all could
// be read.
func (c *cli) backfillOne(ctx context.Context, f backfillFlags, o backfill.Options, line *progressLine, incomplete *bool) (any, error) {
	sum, err := backfill.Run(ctx, o)
	line.end()
	if len(sum.Failed) > 0 {
		*incomplete = true
	}
	if f.json {
		return sum, err
	}
	return sum, errors.Join(err, c.printSummary(sum))
}

func (c *cli) verifyOne(ctx context.Context, f backfillFlags, o backfill.Options, line *progressLine, differ *bool) (any, error) {
	found, err := backfill.Verify(ctx, o)
	line.end()
	if found.Drifts > 0 || len(found.Failed) > 0 {
		*differ = true
	}
	if f.json {
		return found, err
	}
	return found, errors.Join(err, c.printComparison(found))
}
