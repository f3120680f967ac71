package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/avhub/avhub/plugins/provisioner/resource"
)

// Database makes a role and a database of the same name. That takes several
// steps, so the role is marked first: a database that is the property of a
// marked role of its name is ours, too.
type Database struct{ *server }

// NewDatabase reads the options; it does not connect.
func NewDatabase(o Options) (*Database, error) {
	s, err := newServer(o)
	return &Database{s}, err
}

// Observe looks at the role and the database.
func (d *Database) Observe(ctx context.Context, n string) (have resource.Observed, err error) {
	err = d.with(ctx, "", func(c *pgx.Conn) error {
		have, err = d.observe(ctx, c, n)
		return err
	})
	return have, err
}

func (d *Database) observe(ctx context.Context, c *pgx.Conn, n string) (resource.Observed, error) {
	var have resource.Observed
	r, err := readRole(ctx, c, n)
	if err != nil {
		return have, fmt.Errorf("looking at the role: %w", err)
	}
	var comment, owner string
	err = c.QueryRow(ctx, `SELECT coalesce(shobj_description(oid, 'pg_database'), ''), pg_get_userbyid(datdba)
		FROM pg_database WHERE datname = $1`, n).Scan(&comment, &owner)
	database := err == nil
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return have, fmt.Errorf("looking at the database: %w", err)
	}
	have = resource.Observed{Exists: r.exists || database, Open: r.login || r.busy}
	ours(&have, r, database, comment, owner == n)
	if have.Whole {
		have.References = d.references(n, n)
	}
	return have, nil
}

// Put goes step by step; each looks first.
func (d *Database) Put(ctx context.Context, n string, m resource.Mark, may resource.May) error {
	return d.locked(ctx, n, func(c *pgx.Conn) error {
		have, err := d.observe(ctx, c, n)
		if err != nil {
			return err
		}
		if err := allowed(have, m, may); err != nil {
			return err
		}
		if !have.Whole {
			if err := d.make(ctx, c, n, m); err != nil {
				return err
			}
		}
		d.step("before access")
		err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			for _, kind := range []string{"ROLE", "DATABASE"} {
				if err := run(ctx, tx, "COMMENT ON "+kind+" %I IS %L", n, m.Text()); err != nil {
					return fmt.Errorf("marking the %s: %w", kind, err)
				}
			}
			return access(ctx, tx, n, n, m.Phase == resource.Active)
		})
		if err != nil {
			return err
		}
		d.step("after access")
		if m.Phase != resource.Active {
			return d.evict(ctx, c, n)
		}
		return nil
	})
}

func (d *Database) make(ctx context.Context, c *pgx.Conn, n string, m resource.Mark) error {
	r, err := readRole(ctx, c, n)
	if err != nil {
		return err
	}
	d.step("before role")
	if _, marked := resource.Parse(r.comment); !marked {
		err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if !r.exists {
				if err := d.makeRole(ctx, c, tx, n, n, m); err != nil {
					return err
				}
			}
			return run(ctx, tx, "COMMENT ON ROLE %I IS %L", n, m.Text())
		})
		if isCode(err, duplicateObject) {
			return resource.ErrNotOwned
		}
		if err != nil {
			return err
		}
	}
	d.step("after role")
	if err := run(ctx, c, "CREATE DATABASE %1$I OWNER %1$I", n); err != nil && !isCode(err, duplicateDatabase) {
		return fmt.Errorf("creating the database: %w", err)
	}
	d.step("after database")
	if err := run(ctx, c, "REVOKE ALL ON DATABASE %I FROM PUBLIC", n); err != nil {
		return fmt.Errorf("closing the database to others: %w", err)
	}
	return d.with(ctx, n, func(inside *pgx.Conn) error {
		return pgx.BeginFunc(ctx, inside, func(tx pgx.Tx) error {
			// Its mark says that init has run, and is written together with it.
			var marked bool
			if err := tx.QueryRow(ctx, `SELECT coalesce(shobj_description(oid, 'pg_database'), '') LIKE 'avhub {%'
				FROM pg_database WHERE datname = current_database()`).Scan(&marked); err != nil || marked {
				return err
			}
			if d.init != "" {
				if err := initialize(ctx, tx, d.init, n, "public"); err != nil {
					return err
				}
			}
			return run(ctx, tx, "COMMENT ON DATABASE %I IS %L", n, m.Text())
		})
	})
}

// Destroy drops the database and its role.
func (d *Database) Destroy(ctx context.Context, n string, was resource.Mark) error {
	return d.locked(ctx, n, func(c *pgx.Conn) error {
		have, err := d.observe(ctx, c, n)
		switch {
		case err != nil:
			return err
		case !have.Exists:
			return nil
		case !have.Marked || !have.Mark.Same(was):
			return resource.ErrChanged
		}
		d.step("before destroy")
		if err := run(ctx, c, "DROP DATABASE IF EXISTS %I WITH (FORCE)", n); err != nil {
			return fmt.Errorf("dropping the database: %w", err)
		}
		d.step("after destroy")
		if err := d.evict(ctx, c, n); err != nil {
			return err
		}
		if r, err := readRole(ctx, c, n); err != nil || !r.exists {
			return err
		}
		if err := run(ctx, c, "DROP ROLE %I", n); err != nil {
			return fmt.Errorf("dropping the role: %w", err)
		}
		return nil
	})
}

// List finds marked databases, and marked roles whose database is not there
// yet, or not any more.
func (d *Database) List(ctx context.Context, owner, suffix string) ([]resource.Found, error) {
	return d.list(ctx, owner, suffix, `SELECT datname::text AS name, shobj_description(oid, 'pg_database') AS mark FROM pg_database
		WHERE shobj_description(oid, 'pg_database') LIKE 'avhub {%'
		UNION SELECT rolname::text, shobj_description(r.oid, 'pg_authid') FROM pg_roles r
		WHERE shobj_description(r.oid, 'pg_authid') LIKE 'avhub {%' AND NOT EXISTS (SELECT 1 FROM pg_database d WHERE d.datname = r.rolname
			AND shobj_description(d.oid, 'pg_database') LIKE 'avhub {%')`)
}

// Check asks what the administrator may do.
func (d *Database) Check(ctx context.Context) error { return d.check(ctx, true) }

// Close has nothing to close: each call has a connection of its own.
func (d *Database) Close() {}
