package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// One tree of versioned migrations for each dialect, made by comparing the
// schema in ent/schema with the tree before it.
//
//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql
var migrations embed.FS

// migrationsTable remembers which migrations the database has.
const migrationsTable = "avhub_migrations"

// ErrNewerSchema is returned when a newer avhub has already changed the schema.
var ErrNewerSchema = errors.New("the database was migrated by a newer avhub; run that version")

// MigrationStatus is one migration and whether the database has it.
type MigrationStatus struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
	Applied bool   `json:"applied"`
}

func (s *Store) migrator() (*goose.Provider, error) {
	tree, err := fs.Sub(migrations, "migrations/"+string(s.dialect))
	if err != nil {
		return nil, err
	}
	dialect := goose.DialectSQLite3
	opts := []goose.ProviderOption{goose.WithTableName(migrationsTable), goose.WithDisableGlobalRegistry(true)}
	if s.dialect == Postgres {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker() // hubs that start together take turns
		if err != nil {
			return nil, err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	return goose.NewProvider(dialect, s.writer, tree, opts...)
}

// Migrate brings the schema up to date and returns the names of the migrations
// that it ran. It may run in several processes at once.
func (s *Store) Migrate(ctx context.Context) ([]string, error) {
	provider, err := s.migrator()
	if err != nil {
		return nil, fmt.Errorf("migrate storage: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil && s.dialect == SQLite {
		// Another process may have run the same migration between our look and
		// our attempt; then the second look finds nothing to do.
		results, err = provider.Up(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("migrate storage: %w", err)
	}
	names := make([]string, 0, len(results))
	for _, r := range results {
		names = append(names, r.Source.Path)
	}
	return names, s.CheckSchema(ctx)
}

// Migrations lists all known migrations, oldest first.
func (s *Store) Migrations(ctx context.Context) ([]MigrationStatus, error) {
	provider, err := s.migrator()
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	list, err := provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	out := make([]MigrationStatus, 0, len(list))
	for _, m := range list {
		out = append(out, MigrationStatus{Name: m.Source.Path, Version: m.Source.Version, Applied: m.State == goose.StateApplied})
	}
	return out, nil
}

// CheckSchema reports an error if the schema is not the one that this avhub was
// built for.
func (s *Store) CheckSchema(ctx context.Context) error {
	provider, err := s.migrator()
	if err != nil {
		return fmt.Errorf("check schema: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("check schema: %w", err)
	}
	switch {
	case current < target:
		return errors.New("check schema: the database lacks migrations; run `avhub migrate`, or set storage.migrate: auto")
	case current > target:
		return fmt.Errorf("check schema: %w", ErrNewerSchema)
	}
	return nil
}
