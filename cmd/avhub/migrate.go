package main

import (
	"errors"
	"fmt"

	"github.com/avhub/avhub/core/store"
	"github.com/spf13/cobra"
)

func (c *cli) migrateVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database up to date",
		Long: "Creates the database if it is a SQLite file that does not exist, and brings its schema\n" +
			"up to date. With storage.migrate: auto, the default, hubs do the same when they start.",
		Args: noArgs,
	}
	flags := addConfigFlags(cmd)
	status := cmd.Flags().Bool("status", false, "only list the migrations, and change nothing; exit code 1 if some are missing")
	asJSON := jsonFlag(cmd, "a JSON array of migrations")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		cfg, err := c.load(flags, "storage", "log")
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
			if !m.Applied {
				return errors.New("the database lacks migrations; run `avhub migrate`, or set storage.migrate: auto")
			}
		}
		return nil
	}
	return cmd
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
