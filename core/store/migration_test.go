package store_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/sqltool"
	entdialect "entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"entgo.io/ent/dialect/sql/schema"
	entmigrate "github.com/avhub/avhub/ent/migrate"
	"github.com/avhub/avhub/internal/pgtest"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

var (
	newMigration = flag.String("migration", "", "write the missing migration under this name")
	sumUp        = flag.Bool("sum", false, "take migrations that were written by hand into atlas.sum")
)

// The migrations, replayed from nothing, end in the schema that ent/schema
// declares. With -migration NAME the difference is written as a new migration.
// Views are made by migrations of their own, whose names end in _views.
func TestMigrationsMatchTheModels(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{entdialect.SQLite, entdialect.Postgres} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			folder := "sqlite"
			driver, dsn := "sqlite", "file:"+filepath.Join(t.TempDir(), "dev.db")+"?_pragma=foreign_keys(1)"
			if dialect == entdialect.Postgres {
				folder, driver, dsn = "postgres", "pgx", pgtest.URL(t)
			}
			db, err := sql.Open(driver, dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()

			kept := filepath.Join("migrations", folder)
			if *sumUp {
				writeSum(t, kept)
			}
			if err := migrate.Validate(open(t, kept)); err != nil {
				t.Fatalf("%s: %v; run `make migration-sum` if you wrote a migration by hand", kept, err)
			}
			// The comparison is made in a copy without the views, which the models do
			// not know.
			path, name := t.TempDir(), *newMigration
			if err := os.CopyFS(path, os.DirFS(kept)); err != nil {
				t.Fatal(err)
			}
			for _, views := range glob(t, path, "*_views.sql") {
				if err := os.Remove(views); err != nil {
					t.Fatal(err)
				}
			}
			writeSum(t, path)
			before := glob(t, path, "*.sql")
			if name == "" {
				name = "difference"
			}
			dir := open(t, path)
			m, err := schema.NewMigrate(entsql.OpenDB(dialect, db),
				schema.WithDir(dir), schema.WithMigrationMode(schema.ModeReplay),
				schema.WithFormatter(sqltool.GooseFormatter), schema.WithDialect(dialect),
				schema.WithForeignKeys(false), schema.WithErrNoPlan(true),
				schema.WithDropColumn(true), schema.WithDropIndex(true))
			if err != nil {
				t.Fatal(err)
			}
			switch err := m.NamedDiff(ctx, name, entmigrate.Tables...); {
			case errors.Is(err, migrate.ErrNoPlan):
			case err != nil:
				t.Fatal(err)
			default:
				for _, file := range glob(t, path, "*.sql") {
					if slices.Contains(before, file) {
						continue
					}
					text, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					if *newMigration == "" {
						t.Logf("missing:\n%s", text)
						continue
					}
					if err := os.WriteFile(filepath.Join(kept, filepath.Base(file)), text, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if *newMigration != "" {
					writeSum(t, kept)
					t.Logf("wrote a migration to %s", kept)
					return
				}
				t.Error("migrations do not end in the schema of ent/schema; run `make migration NAME=what_changed`")
			}
		})
	}
}

func open(t *testing.T, path string) *sqltool.GooseDir {
	t.Helper()
	dir, err := sqltool.NewGooseDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func glob(t *testing.T, path, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(path, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// writeSum writes the sums of all migrations in the folder.
func writeSum(t *testing.T, path string) {
	t.Helper()
	dir := open(t, path)
	sum, err := dir.Checksum()
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate.WriteSumFile(dir, sum); err != nil {
		t.Fatal(err)
	}
}
