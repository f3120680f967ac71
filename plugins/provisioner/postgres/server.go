// Package postgres gives a tenant a role of its own, and a schema or a database
// that is the role's. The marks are comments.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/avhub/avhub/plugins/provisioner/name"
	"github.com/avhub/avhub/plugins/provisioner/resource"
	"github.com/avhub/avhub/plugins/provisioner/secret"
)

// Postgres's codes for what is expected to happen.
const (
	duplicateDatabase = "42P04"
	duplicateObject   = "42710"
	duplicateSchema   = "42P06"
)

// server is what both drivers share.
type server struct {
	conf  *pgx.ConnConfig
	init  string
	sink  secret.Sink // nil: roles have no password
	step  func(string)
	slots chan struct{} // bounds connections
}

// Options are those of a driver.
type Options struct {
	URL  string // of the administrator; it names the database in which schemas are made
	Init string // SQL that runs as the new role; may be empty
	Sink secret.Sink
	Step func(string) // told before and after each step that changes something
}

// connections is how many a driver has open at most.
const connections = 8

func newServer(o Options) (*server, error) {
	conf, err := pgx.ParseConfig(o.URL)
	if err != nil {
		// The library's text quotes the URL.
		return nil, errors.New("reading postgres.url: it is no connection string of Postgres")
	}
	conf.DefaultQueryExecMode = pgx.QueryExecModeExec
	conf.ConnectTimeout = 10 * time.Second
	conf.RuntimeParams["application_name"] = "avhub-provisioner"
	return &server{conf: conf, init: o.Init, sink: o.Sink, step: o.Step, slots: make(chan struct{}, connections)}, nil
}

// with connects, to a database of that name or the administrator's own, and
// calls f.
func (s *server) with(ctx context.Context, database string, f func(*pgx.Conn) error) error {
	if database == "" { // whoever has a connection may need one to another database
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	conf := s.conf.Copy()
	if database != "" {
		conf.Database = database
	}
	conn, err := pgx.ConnectConfig(ctx, conf)
	if err != nil {
		return fmt.Errorf("connecting to Postgres: %w", err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(end)
	}()
	return f(conn)
}

// locked excludes everybody else from a name, as long as the connection lives.
func (s *server) locked(ctx context.Context, n string, f func(*pgx.Conn) error) error {
	if !name.Safe(n) {
		return fmt.Errorf("%q is no name of ours", n)
	}
	return s.with(ctx, "", func(c *pgx.Conn) error {
		if _, err := c.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended('avhub ' || $1, 0))", n); err != nil {
			return fmt.Errorf("locking the name: %w", err)
		}
		return f(c)
	})
}

// execer is a connection or a transaction.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// run runs a statement that Postgres itself puts together: %I is an identifier,
// %L a literal.
func run(ctx context.Context, on execer, format string, args ...string) error {
	var statement string
	if err := on.QueryRow(ctx, "SELECT format($1, VARIADIC $2::text[])", format, args).Scan(&statement); err != nil {
		return err
	}
	_, err := on.Exec(ctx, statement)
	return err
}

func isCode(err error, codes ...string) bool {
	var failed *pgconn.PgError
	if !errors.As(err, &failed) {
		return false
	}
	for _, c := range codes {
		if failed.Code == c {
			return true
		}
	}
	return false
}

// role is what was seen of a name.
type role struct {
	exists, login, busy bool
	comment             string
}

func readRole(ctx context.Context, c execer, n string) (role, error) {
	var r role
	err := c.QueryRow(ctx, `SELECT rolcanlogin, coalesce(shobj_description(oid, 'pg_authid'), ''),
		EXISTS (SELECT 1 FROM pg_stat_activity WHERE usename = rolname)
		FROM pg_roles WHERE rolname = $1`, n).Scan(&r.login, &r.comment, &r.busy)
	if errors.Is(err, pgx.ErrNoRows) {
		return role{}, nil
	}
	r.exists = err == nil
	return r, err
}

// allowed says whether Put may go on with what it sees.
func allowed(have resource.Observed, m resource.Mark, may resource.May) error {
	switch {
	case have.Marked && !have.Mark.Of(m.Owner, m.Tenant, m.Resource), have.Exists && !have.Marked && !may.Adopt:
		return resource.ErrNotOwned
	case !have.Exists && !may.Create, have.Exists && !have.Whole && !may.Create && !may.Adopt:
		return resource.ErrGone
	}
	return nil
}

// makeRole makes the role and its password. The secret is kept before the role
// is there: a role whose password nobody has would be of no use.
func (s *server) makeRole(ctx context.Context, c *pgx.Conn, tx pgx.Tx, n, database string, m resource.Mark) error {
	if err := run(ctx, tx, "CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE", n); err != nil {
		return fmt.Errorf("creating the role: %w", err)
	}
	if s.sink != nil {
		word := secret.Password()
		s.step("before secret")
		err := s.sink.Put(ctx, secret.Secret{
			Name: n, Tenant: m.Tenant, Resource: m.Resource, User: n, Password: word,
			Host: s.conf.Host, Port: fmt.Sprint(s.conf.Port), Database: database,
		})
		if err != nil {
			return err
		}
		s.step("after secret")
		verifier, err := scram(word)
		if err != nil {
			return err
		}
		if err := run(ctx, tx, "ALTER ROLE %I PASSWORD %L", n, verifier); err != nil {
			return fmt.Errorf("setting the role's password: %w", err)
		}
	}
	// Whoever is no superuser has to be a member to make things for it.
	var super bool
	if err := c.QueryRow(ctx, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").Scan(&super); err != nil {
		return err
	}
	if !super {
		if err := run(ctx, tx, "GRANT %I TO CURRENT_USER", n); err != nil {
			return fmt.Errorf("becoming a member of the role: %w", err)
		}
	}
	return nil
}

// access lets the role in, or keeps it out. Sessions are ended by evict. The
// right to connect is given only to a role that lacks it, and taken only from
// one that was given it: those of a shared database stand in one row, which
// grows with each of them and is changed by one transaction at a time.
func access(ctx context.Context, on execer, n, database string, open bool) error {
	var may, given bool
	err := on.QueryRow(ctx, `SELECT has_database_privilege(r.oid, d.oid, 'CONNECT'),
		EXISTS (SELECT 1 FROM aclexplode(d.datacl) a WHERE a.grantee = r.oid AND a.privilege_type = 'CONNECT')
		FROM pg_roles r, pg_database d WHERE r.rolname = $1 AND d.datname = $2`, n, database).Scan(&may, &given)
	if err != nil {
		return fmt.Errorf("asking who may connect: %w", err)
	}
	formats := []string{"ALTER ROLE %1$I NOLOGIN"}
	if open {
		formats[0] = "ALTER ROLE %1$I LOGIN"
	}
	if open && !may || !open && given {
		if _, err := on.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('avhub connect', 0))"); err != nil {
			return fmt.Errorf("waiting to change who may connect: %w", err)
		}
		if open {
			formats = append(formats, "GRANT CONNECT ON DATABASE %2$I TO %1$I")
		} else {
			formats = append(formats, "REVOKE CONNECT ON DATABASE %2$I FROM %1$I")
		}
	}
	for _, f := range formats {
		if err := run(ctx, on, f, n, database); err != nil {
			return fmt.Errorf("changing who may log in: %w", err)
		}
	}
	return nil
}

// evict ends the role's sessions.
func (s *server) evict(ctx context.Context, c *pgx.Conn, n string) error {
	s.step("before evict")
	if _, err := c.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", n); err != nil {
		return fmt.Errorf("ending the role's sessions: %w", err)
	}
	s.step("after evict")
	return nil
}

func (s *server) references(n, database string) map[string]string {
	refs := map[string]string{"host": s.conf.Host, "port": fmt.Sprint(s.conf.Port), "database": database, "role": n}
	if s.sink != nil {
		if at := s.sink.Ref(n); at != "" {
			refs["secret_ref"] = at
		}
	}
	return refs
}

// list finds marked comments.
func (s *server) list(ctx context.Context, owner, suffix, query string) ([]resource.Found, error) {
	var out []resource.Found
	err := s.with(ctx, "", func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT name, mark FROM ("+query+") AS marked WHERE right(name, length($1)) = $1 ORDER BY 1", suffix)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var n, comment string
			if err := rows.Scan(&n, &comment); err != nil {
				return err
			}
			if m, ok := resource.Parse(comment); ok && m.Owner == owner && name.Safe(n) {
				out = append(out, resource.Found{Name: n, Mark: m})
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("listing resources: %w", err)
	}
	return out, nil
}

// Check asks what the administrator may do.
func (s *server) check(ctx context.Context, databases bool) error {
	return s.with(ctx, "", func(c *pgx.Conn) error {
		var super, roles, dbs bool
		err := c.QueryRow(ctx, "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user").Scan(&super, &roles, &dbs)
		switch {
		case err != nil:
			return err
		case !super && !roles:
			return errors.New("the user of postgres.url lacks CREATEROLE")
		case !super && databases && !dbs:
			return errors.New("the user of postgres.url lacks CREATEDB")
		}
		return nil
	})
}
