// Package store opens the team's database, SQLite or Postgres, brings its
// schema up to date, and carries transactions in the context, so that the
// journal, the mirror and the fan-out write in one transaction without knowing
// of each other.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	entdialect "entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/ent"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
)

// Dialect is the kind of database behind a Store.
type Dialect string

// The databases that avhub runs on.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// Options of Open. The zero value is usable.
type Options struct {
	Log zerolog.Logger
	// MustExist makes Open fail for a SQLite file that does not exist, instead
	// of creating it: what verbs that only read want.
	MustExist bool
	// Small is for one of many databases that a process has open: two
	// connections rather than sixteen, and little memory.
	Small bool
	// Relaxed lets a power cut undo the last commits of a SQLite database, in
	// their order: for what can be made again from what is durable elsewhere.
	Relaxed bool
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	dialect Dialect
	log     zerolog.Logger

	// On SQLite writer is a single connection whose transactions take the write
	// lock when they begin, so that they queue in Go rather than fail with
	// SQLITE_BUSY; reader is a small pool that cannot write. On Postgres both
	// are the same pool.
	writer *sql.DB
	reader *sql.DB

	path   string          // of a SQLite file
	config *pgx.ConnConfig // of a Postgres database

	statements statements
	entWriter  *ent.Client
	entReader  *ent.Client

	stop context.CancelFunc // ends background work
	done sync.WaitGroup
}

// ErrScheme is returned by Open for a URL of an unknown kind of database.
var ErrScheme = errors.New("unknown kind of database")

// Open opens the database at url: "sqlite://path/to/file.db" (relative to the
// working directory; three slashes make it absolute) or "postgres://…". It does
// not change the schema; see Migrate. Errors never contain the URL's password.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	s := &Store{log: opts.Log}
	var err error
	switch scheme, rest, _ := strings.Cut(url, "://"); scheme {
	case "sqlite":
		err = s.openSQLite(ctx, rest, opts)
	case "postgres", "postgresql":
		err = s.openPostgres(ctx, url, opts)
	default:
		return nil, fmt.Errorf("open storage: %w: use sqlite://path/to/file.db or postgres://user@host/database", ErrScheme)
	}
	if err != nil {
		return nil, fmt.Errorf("open storage %s: %w", config.RedactURL(url), err)
	}
	name := entdialect.SQLite
	if s.dialect == Postgres {
		name = entdialect.Postgres
	}
	s.entWriter = ent.NewClient(ent.Driver(entsql.OpenDB(name, s.writer)))
	s.entReader = ent.NewClient(ent.Driver(entsql.OpenDB(name, s.reader)))
	return s, nil
}

// Close waits for background work and closes all connections.
func (s *Store) Close() error {
	if s.stop != nil {
		s.stop()
	}
	s.done.Wait()
	s.statements.close()
	err := s.writer.Close()
	if s.reader != s.writer {
		err = errors.Join(err, s.reader.Close())
	}
	if err != nil {
		return fmt.Errorf("close storage: %w", err)
	}
	return nil
}

// Dialect tells which kind of database this is.
func (s *Store) Dialect() Dialect { return s.dialect }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.reader.PingContext(ctx); err != nil {
		return fmt.Errorf("reach storage: %w", err)
	}
	return nil
}

// Ent returns a client for reading and writing: in the transaction that ctx
// carries, or else each statement for itself.
func (s *Store) Ent(ctx context.Context) *ent.Client {
	if tx := txFrom(ctx, s); tx != nil {
		return tx.entClient()
	}
	return s.entWriter
}

// Read returns a client for queries outside of any transaction. On SQLite it
// does not wait for writers.
func (s *Store) Read() *ent.Client { return s.entReader }

// Now is the current time as the databases can hold it: UTC, in microseconds.
func Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
