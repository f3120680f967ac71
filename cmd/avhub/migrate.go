package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/core/store"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
)

func (c *cli) migrateVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database up to date",
		Long: "Creates the database if it is a SQLite file that does not exist, and brings its schema\n" +
			"up to date. With storage.migrate: auto, the default, hubs do the same when they start.\n" +
			"With mirror.tenants.mode: isolated the tenants' own databases are brought up to date, too;\n" +
			"one that cannot be reached does not keep the others from it.",
		Args: noArgs,
	}
	flags := addConfigFlags(cmd)
	status := cmd.Flags().Bool("status", false, "only list the migrations, and change nothing; exit code 1 if some are missing")
	asJSON := jsonFlag(cmd, "a JSON array of migrations")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		cfg, err := c.load(flags, "storage", "log", "mirror")
		if err != nil {
			return err
		}
		st, err := store.Open(cmd.Context(), cfg.Storage.URL, store.Options{MustExist: *status})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, st.Close()) }()
		if !*status {
			ran, err := st.Migrate(cmd.Context())
			for _, name := range ran {
				c.say("ran %s", name)
			}
			if err != nil {
				return err
			}
			if len(ran) == 0 {
				c.say("nothing to do: %s is up to date", cfg.Storage.RedactedURL())
			}
		}
		list, err := st.Migrations(cmd.Context())
		if err != nil {
			return err
		}
		if err := c.printMigrations(list, *asJSON, *status); err != nil {
			return err
		}
		for _, m := range list {
			if !m.Applied { // and so there is no telling which tenants there are
				return errors.New("the database lacks migrations; run `avhub migrate`, or set storage.migrate: auto")
			}
		}
		return c.migrateTenants(cmd.Context(), cfg, st, *status)
	}
	return cmd
}

// migrateTenants brings tenants' own databases up to date, or only looks.
func (c *cli) migrateTenants(ctx context.Context, cfg *config.Config, st *store.Store, look bool) error {
	tenants, err := hub.TenantDatabases(cfg, st, journal.New(st, nil, journal.Options{}), zerolog.Nop(), nil)
	if err != nil || tenants == nil {
		return err
	}
	var seen, changed, failed int64
	terminal := isTerminal(c.err)
	err = tenants.Migrate(ctx, look, func(s isolated.Schema, of int64) {
		seen++
		switch {
		case s.Err != nil:
			failed++
			c.say("tenant %s: %s", s.Tenant, s.Err)
		case len(s.Ran) > 0:
			changed++
		}
		if terminal {
			fmt.Fprintf(c.err, "\r%d of %d tenants' databases", seen, of)
		}
	})
	if terminal && seen > 0 {
		fmt.Fprint(c.err, "\r\x1b[K")
	}
	switch {
	case err != nil:
		return fmt.Errorf("after %s of tenants: %w", count(seen, "database"), err)
	case failed > 0 && look:
		return fmt.Errorf("%s of tenants, of %d, cannot be used as they are; run `avhub migrate`", count(failed, "database"), seen)
	case failed > 0:
		return fmt.Errorf("%s of tenants, of %d, could not be brought up to date; run this again when they can be reached", count(failed, "database"), seen)
	case !look && seen > 0:
		c.say("%s of tenants: %d changed, %d up to date already", count(seen, "database"), changed, seen-changed)
	}
	return nil
}

func (c *cli) printMigrations(list []store.MigrationStatus, asJSON, asTable bool) error {
	if asJSON {
		return c.writeJSON(list)
	}
	if !asTable {
		return nil
	}
	t := newTable("VERSION", "STATE", "NAME")
	for _, m := range list {
		state := "missing"
		if m.Applied {
			state = "applied"
		}
		t.add(fmt.Sprint(m.Version), state, m.Name)
	}
	return t.print(c)
}
