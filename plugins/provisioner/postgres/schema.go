package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/avhub/avhub/plugins/provisioner/resource"
)

// Schema makes a role and a schema of the same name, all in one transaction.
type Schema struct{ *server }

// NewSchema reads the options; it does not connect.
func NewSchema(o Options) (*Schema, error) {
	s, err := newServer(o)
	return &Schema{s}, err
}

// Observe looks at the role and the schema.
func (s *Schema) Observe(ctx context.Context, n string) (have resource.Observed, err error) {
	err = s.with(ctx, "", func(c *pgx.Conn) error {
		have, err = s.observe(ctx, c, n)
		return err
	})
	return have, err
}

func (s *Schema) observe(ctx context.Context, c *pgx.Conn, n string) (resource.Observed, error) {
	var have resource.Observed
	r, err := readRole(ctx, c, n)
	if err != nil {
		return have, fmt.Errorf("looking at the role: %w", err)
	}
	var database, comment, owner string
	err = c.QueryRow(ctx, `SELECT coalesce(obj_description(oid, 'pg_namespace'), ''), pg_get_userbyid(nspowner)
		FROM pg_namespace WHERE nspname = $1`, n).Scan(&comment, &owner)
	schema := err == nil
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return have, fmt.Errorf("looking at the schema: %w", err)
	}
	if err := c.QueryRow(ctx, "SELECT current_database()").Scan(&database); err != nil {
		return have, err
	}
	have = resource.Observed{Exists: r.exists || schema, Open: r.login || r.busy}
	ours(&have, r, schema, comment, owner == n)
	if have.Whole {
		have.References = s.references(n, database)
		have.References["schema"] = n
	}
	return have, nil
}

// ours says what the marks of a role and of what is beside it come to. Each part
// has to carry the mark, but for one that is the property of our role: that was
// begun and not finished.
func ours(have *resource.Observed, r role, beside bool, comment string, owned bool) {
	mark, marked := resource.Parse(comment)
	have.Mark, have.Marked = resource.Parse(r.comment)
	have.Whole = r.exists && beside && marked
	switch {
	case !r.exists:
		have.Mark, have.Marked = mark, marked
	case !beside || have.Marked && comment == "" && owned:
	case !marked || !mark.Of(have.Mark.Owner, have.Mark.Tenant, have.Mark.Resource):
		have.Mark, have.Marked = resource.Mark{}, false
	}
}

// Put does everything in one transaction, and then ends sessions.
func (s *Schema) Put(ctx context.Context, n string, m resource.Mark, may resource.May) error {
	return s.locked(ctx, n, func(c *pgx.Conn) error {
		have, err := s.observe(ctx, c, n)
		if err != nil {
			return err
		}
		if err := allowed(have, m, may); err != nil {
			return err
		}
		s.step("before put")
		err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return s.put(ctx, c, tx, n, m) })
		if isCode(err, duplicateObject, duplicateSchema) {
			return resource.ErrNotOwned // it came in the meantime
		}
		if err != nil {
			return err
		}
		s.step("after put")
		if m.Phase != resource.Active {
			return s.evict(ctx, c, n)
		}
		return nil
	})
}

func (s *Schema) put(ctx context.Context, c *pgx.Conn, tx pgx.Tx, n string, m resource.Mark) error {
	var role, schema, begun bool
	var database string
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1),
		EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1),
		EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1 AND obj_description(oid, 'pg_namespace') IS NULL AND pg_get_userbyid(nspowner) = $1),
		current_database()`, n).Scan(&role, &schema, &begun, &database)
	if err != nil {
		return err
	}
	if !role {
		if err := s.makeRole(ctx, c, tx, n, database, m); err != nil {
			return err
		}
		if err := run(ctx, tx, "ALTER ROLE %1$I IN DATABASE %2$I SET search_path = %1$I", n, database); err != nil {
			return fmt.Errorf("setting the role's search_path: %w", err)
		}
	}
	if !schema {
		if err := run(ctx, tx, "CREATE SCHEMA %1$I AUTHORIZATION %1$I", n); err != nil {
			return fmt.Errorf("creating the schema: %w", err)
		}
	}
	// The role is marked before init, and the schema after it: an init that ends
	// the transaction leaves something that is ours, and not whole.
	if err := run(ctx, tx, "COMMENT ON ROLE %I IS %L", n, m.Text()); err != nil {
		return fmt.Errorf("marking the role: %w", err)
	}
	if s.init != "" && (!schema || begun) {
		if err := initialize(ctx, tx, s.init, n, n); err != nil {
			return err
		}
	}
	for _, kind := range []string{"ROLE", "SCHEMA"} {
		if err := run(ctx, tx, "COMMENT ON "+kind+" %I IS %L", n, m.Text()); err != nil {
			return fmt.Errorf("marking the %s: %w", kind, err)
		}
	}
	return access(ctx, tx, n, database, m.Phase == resource.Active)
}

// initialize runs the operator's SQL as the role, in the transaction that makes
// what it fills.
func initialize(ctx context.Context, tx pgx.Tx, text, role, schema string) error {
	if err := run(ctx, tx, "SET LOCAL ROLE %I", role); err != nil {
		return fmt.Errorf("becoming the role for init: %w", err)
	}
	if err := run(ctx, tx, "SET LOCAL search_path = %I", schema); err != nil {
		return fmt.Errorf("preparing init: %w", err)
	}
	// Several statements go through the simple protocol alone.
	if _, err := tx.Conn().PgConn().Exec(ctx, text).ReadAll(); err != nil {
		return fmt.Errorf("running init: %w", err)
	}
	if tx.Conn().PgConn().TxStatus() != 'T' {
		return errors.New("running init: it ended the transaction that it runs in; leave out BEGIN, COMMIT and ROLLBACK")
	}
	if _, err := tx.Exec(ctx, "RESET ROLE; RESET search_path"); err != nil {
		return fmt.Errorf("ending init: %w", err)
	}
	return nil
}

// Destroy drops the schema, what else is the role's in this database, and the role.
func (s *Schema) Destroy(ctx context.Context, n string, was resource.Mark) error {
	return s.locked(ctx, n, func(c *pgx.Conn) error {
		have, err := s.observe(ctx, c, n)
		switch {
		case err != nil:
			return err
		case !have.Exists:
			return nil
		case !have.Marked || !have.Mark.Same(was):
			return resource.ErrChanged
		}
		if err := s.evict(ctx, c, n); err != nil {
			return err
		}
		s.step("before destroy")
		err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			formats := []string{"DROP SCHEMA IF EXISTS %I CASCADE"}
			if r, err := readRole(ctx, tx, n); err != nil {
				return err
			} else if r.exists {
				formats = append(formats, "DROP OWNED BY %I CASCADE", "DROP ROLE %I")
			}
			for _, f := range formats {
				if err := run(ctx, tx, f, n); err != nil {
					return fmt.Errorf("dropping the schema and its role: %w", err)
				}
			}
			return nil
		})
		s.step("after destroy")
		return err
	})
}

// List finds marked schemas of this database.
func (s *Schema) List(ctx context.Context, owner, suffix string) ([]resource.Found, error) {
	return s.list(ctx, owner, suffix, `SELECT nspname::text AS name, obj_description(oid, 'pg_namespace') AS mark FROM pg_namespace
		WHERE obj_description(oid, 'pg_namespace') LIKE 'avhub {%'`)
}

// Check asks what the administrator may do.
func (s *Schema) Check(ctx context.Context) error { return s.check(ctx, false) }

// Close has nothing to close: each call has a connection of its own.
func (s *Schema) Close() {}
