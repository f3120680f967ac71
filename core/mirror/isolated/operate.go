package isolated

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/avhub/avhub/core/store"
	"github.com/jackc/pgx/v5"
)

// What operators do works on the hub's database alone, so it works from any
// process while the hub runs, which finds it within a second.

// Database is a tenant's own database, as the hub knows it.
type Database struct {
	Tenant string `json:"tenant_id"`
	// Place is the file, or the name of the Postgres database; empty before it is
	// needed for the first time.
	Place string `json:"place"`
	// State is current, behind, failing or deleted.
	State string `json:"state"`
	// Position is the one up to which it holds everything, Target the last event
	// that it has to get.
	Position int64 `json:"position"`
	Target   int64 `json:"target"`
	// Since is when it fell behind, or was brought up to date.
	Since     time.Time  `json:"since"`
	Attempts  int        `json:"attempts"`
	NextAt    *time.Time `json:"next_at"` // of the next attempt after a failed one
	LastError string     `json:"last_error"`
}

// List returns tenants' own databases in the order of tenants' ids: those after
// one id, at most limit; with behind, those that are not up to date.
func List(ctx context.Context, st *store.Store, behind bool, after string, limit int) ([]Database, error) {
	d := &Databases{deps: Deps{Store: st}}
	where := "tenant_id > ?"
	if behind {
		where += " AND " + due + " AND state = ''"
	}
	rows, err := d.rows(ctx, where+" ORDER BY tenant_id LIMIT ?", after, limit)
	if err != nil {
		return nil, err
	}
	list := make([]Database, 0, len(rows))
	for _, r := range rows {
		list = append(list, r.database())
	}
	return list, nil
}

func (r row) database() Database {
	is := Database{
		Tenant: r.Tenant, Position: max(0, r.Position), Target: r.Target, State: countCurrent,
		Since: time.UnixMicro(r.UpdatedAt).UTC(), Attempts: r.Attempts, LastError: r.LastError,
	}
	_, is.Place, _ = strings.Cut(r.Place, ":")
	switch {
	case r.State != "":
		is.State = r.State
	case !r.due():
	case r.Attempts > 0:
		is.State = countFailing
		next := time.UnixMicro(r.NextAt).UTC()
		is.NextAt = &next
	default:
		is.State = countBehind
	}
	return is
}

// Retry has a tenant's database looked at at once, or all of them if tenant is
// empty: those that wait for another attempt, and those that are thought to be
// up to date, which may have been replaced by a backup. It returns how many.
func Retry(ctx context.Context, st *store.Store, tenant string) (int64, error) {
	return change(ctx, st, tenant, `calls = calls + 1`)
}

// Rebuild has a tenant's database, or all of them, emptied and filled anew from
// the journal and what first fills have read.
func Rebuild(ctx context.Context, st *store.Store, tenant string) (int64, error) {
	return change(ctx, st, tenant, fmt.Sprintf(`position = %d`, positionRebuild))
}

func change(ctx context.Context, st *store.Store, tenant, set string) (int64, error) {
	where, args := "state = ''", []any{store.Now().UnixMicro()}
	if tenant != "" {
		where, args = where+" AND tenant_id = ?", append(args, tenant)
	}
	ctx, cancel := st.Bound(ctx, store.Patience)
	defer cancel()
	n, err := st.SQL(ctx).Exec(ctx, `UPDATE avhub_tenant_databases SET attempts = 0, next_at = 0,
 updated_at = CASE WHEN `+due+` THEN updated_at ELSE ? END, `+set+` WHERE `+where, args...)
	if err != nil {
		return 0, fmt.Errorf("have tenants' databases looked at: %w", err)
	}
	return n, nil
}

// Schema is what Migrate found at one tenant's database.
type Schema struct {
	Tenant string
	Ran    []string // migrations
	Err    error
}

// pageOf tenants are read at a time.
const pageOf = 200

// Migrate brings the schema of all tenants' databases up to date, or, with look,
// only tells whether it is. It goes on after one that fails. each is told of
// every database, and of how many there are. A database that does not exist yet
// is left out: it gets its schema when it is made.
func (d *Databases) Migrate(ctx context.Context, look bool, each func(s Schema, of int64)) error {
	of, err := number(ctx, d.deps.Store, `SELECT COUNT(*) FROM avhub_tenant_databases WHERE place <> '' AND state = ''`)
	if err != nil {
		return err
	}
	for after := ""; ; {
		rows, err := d.rows(ctx, "tenant_id > ? ORDER BY tenant_id LIMIT ?", after, pageOf)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, r := range rows {
			if after = r.Tenant; r.Place == "" || r.State != "" || !d.place.holds(r.Place) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			s := Schema{Tenant: r.Tenant}
			s.Ran, s.Err = d.migrate(ctx, r.Place, look)
			each(s, of)
		}
	}
}

func (d *Databases) migrate(ctx context.Context, place string, look bool) (ran []string, err error) {
	st, there, err := d.tryOpen(ctx, place)
	if err != nil || !there {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if look {
		return nil, st.CheckSchema(ctx)
	}
	return st.Migrate(ctx)
}

// ErrMayNotCreate is returned by Check for a user who may not create databases.
// An administrator can create each of them instead, when the hub asks for it.
var ErrMayNotCreate = errors.New("the user may not create databases")

// Check proves that databases can be created on the Postgres server, without
// creating one. On SQLite there is nothing to ask.
func (d *Databases) Check(ctx context.Context) error {
	if d.place.dialect == store.SQLite {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.place.administration())
	if err != nil {
		return fmt.Errorf("connect to the database %s, to create others: %w", d.place.administrator, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing was done
	var may bool
	err = conn.QueryRow(ctx, `SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user`).Scan(&may)
	if err != nil {
		return fmt.Errorf("ask the server what the user may do: %w", err)
	}
	if !may {
		return fmt.Errorf("%w: have an administrator run ALTER ROLE %s CREATEDB, or create each database when the hub asks for it",
			ErrMayNotCreate, quoted(conn.Config().User))
	}
	return nil
}
