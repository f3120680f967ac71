package isolated

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/avhub/avhub/core/store"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// How databases come to be, and how they go.

const (
	openTime = 10 * time.Second // to connect and look around
	makeTime = time.Minute      // to create or drop a Postgres database

	noSuchDatabase  = "3D000"
	databaseExists  = "42P04"
	mayNotDoThat    = "42501"
	stateOwn        = "own"     // of the row that a tenant's database has about itself
	stateDeleted    = "deleted" // of the row about a database that was dropped
	positionRebuild = -1        // of a database that is to be filled anew
)

// tryOpen opens the database at a place; false if there is none.
func (d *Databases) tryOpen(ctx context.Context, place string) (*store.Store, bool, error) {
	if _, name, _ := strings.Cut(place, ":"); d.place.dialect == store.SQLite {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return nil, false, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	st, err := store.Open(ctx, d.place.url(place), store.Options{Log: d.deps.Log, Small: true, Relaxed: true})
	if code(err) == noSuchDatabase {
		return nil, false, nil
	}
	return st, err == nil, err
}

// create makes the database at a place, empty, and opens it.
func (d *Databases) create(ctx context.Context, place string) (*store.Store, error) {
	_, name, _ := strings.Cut(place, ":")
	if d.place.dialect == store.SQLite {
		// Closed to everybody else: what is in it is personal, and names of
		// tenants may be, too.
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, fmt.Errorf("make the folder of tenants' databases: %w", err)
		}
	} else if err := d.administer(ctx, "CREATE DATABASE "+quoted(name)+" TEMPLATE template0 ENCODING 'UTF8'", databaseExists); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	return store.Open(ctx, d.place.url(place), store.Options{Log: d.deps.Log, Small: true, Relaxed: true})
}

// drop removes the database at a place with everything in it. It must be closed.
// There may be none.
func (d *Databases) drop(ctx context.Context, place string) error {
	_, name, _ := strings.Cut(place, ":")
	if d.place.dialect == store.Postgres {
		return d.administer(ctx, "DROP DATABASE IF EXISTS "+quoted(name)+" WITH (FORCE)", "")
	}
	// The database goes last: what is left of an interrupted attempt is found
	// under its name again.
	for _, ending := range []string{"-wal", "-shm", "-journal", ""} {
		if err := os.Remove(name + ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a tenant's database: %w", err)
		}
	}
	return nil
}

// administer runs one statement on the server's other database.
func (d *Databases) administer(ctx context.Context, statement, harmless string) error {
	ctx, cancel := context.WithTimeout(ctx, makeTime)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.place.administration())
	if err != nil {
		return fmt.Errorf("connect to the database %s, to create or drop others: %w", d.place.administrator, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // what was done is done
	_, err = conn.Exec(ctx, statement)
	switch c := code(err); {
	case c == mayNotDoThat:
		return fmt.Errorf("the hub's user may not do that; have an administrator run: %s;, or: ALTER ROLE %s CREATEDB; %w",
			d.owned(statement, conn.Config().User), quoted(conn.Config().User), err)
	case c != "" && c == harmless:
		return nil
	case err != nil:
		return fmt.Errorf("run %s: %w", statement, err)
	}
	return nil
}

// owned makes the hub's user the owner of what an administrator creates.
func (d *Databases) owned(statement, user string) string {
	return strings.Replace(statement, " TEMPLATE", " OWNER "+quoted(user)+" TEMPLATE", 1)
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// code is Postgres's code of an error, empty for others.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// occupied tells whether there is something at a place that is not the tenant's
// database: a stranger's file, say, that a slug happens to name. It changes
// nothing there.
func (d *Databases) occupied(ctx context.Context, place, tenant string) (bool, error) {
	if _, name, _ := strings.Cut(place, ":"); d.place.dialect == store.SQLite {
		is, err := peek(ctx, name)
		// What cannot be read is something else.
		return err != nil || is != "" && is != tenant, nil
	}
	st, there, err := d.tryOpen(ctx, place)
	if err != nil || !there {
		return false, err
	}
	defer st.Close()
	tables, err := number(ctx, st, `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')`)
	if err != nil || tables == 0 {
		return false, err // empty: an administrator made it, or an attempt ended early
	}
	known, err := hasTable(ctx, st, "avhub_tenant_databases")
	if err != nil || !known {
		return true, err
	}
	is, _, err := owner(ctx, st)
	return is != tenant, err
}

// stranger is whose a database is that is no tenant's.
const stranger = "\x00"

// peek tells whose the SQLite database in a file is, without changing it: empty
// if there is none or nothing in it.
func peek(ctx context.Context, path string) (is string, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case info.Mode().IsRegular() && info.Size() == 0:
		return "", nil // an attempt ended early
	}
	file := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: "mode=ro"}
	db, err := sql.Open("sqlite", file.String())
	if err != nil {
		return "", err
	}
	defer db.Close()
	var tables int
	if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM sqlite_master`).Scan(&tables); err != nil || tables == 0 {
		return "", err
	}
	err = db.QueryRowContext(ctx, `SELECT tenant_id FROM avhub_tenant_databases WHERE state = ?`, stateOwn).Scan(&is)
	if err != nil {
		return stranger, nil // no such table, or no such row
	}
	return is, nil
}

// owner returns whose database it is and how far it is; empty if it is nobody's.
func owner(ctx context.Context, st *store.Store) (tenant string, at progress, err error) {
	// By the connection that feeds: on SQLite a second one would have to be opened.
	err = st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&tenant, &at.events, &at.facts, &at.reapplied) },
		`SELECT tenant_id, position, facts, reapplied FROM avhub_tenant_databases WHERE state = ?`, stateOwn)
	if err != nil {
		return "", progress{}, fmt.Errorf("read whose database it is: %w", err)
	}
	return tenant, at, nil
}

func hasTable(ctx context.Context, st *store.Store, table string) (bool, error) {
	n, err := number(ctx, st, map[store.Dialect]string{
		store.SQLite:   `SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?`,
		store.Postgres: `SELECT COUNT(*) FROM (SELECT to_regclass(?::text) AS found) t WHERE found IS NOT NULL`,
	}[st.Dialect()], table)
	return n > 0, err
}

func number(ctx context.Context, st *store.Store, query string, args ...any) (n int64, err error) {
	err = st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&n) }, query, args...)
	if err != nil {
		return 0, fmt.Errorf("look into a database: %w", err)
	}
	return n, nil
}
