package store_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"os"
	"path/filepath"
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

var newMigration = flag.String("migration", "", "write the missing migration under this name")

// The migrations, replayed from nothing, end in the schema that ent/schema
// declares. With -migration NAME the difference is written as a new migration.
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

			path := filepath.Join("migrations", folder)
			name := *newMigration
			if name == "" { // compare in a copy
				copied := t.TempDir()
				if err := os.CopyFS(copied, os.DirFS(path)); err != nil {
					t.Fatal(err)
				}
				path, name = copied, "difference"
			}
			dir, err := sqltool.NewGooseDir(path)
			if err != nil {
				t.Fatal(err)
			}
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
			case *newMigration != "":
				t.Logf("wrote a migration to %s", path)
			default:
				files, _ := filepath.Glob(filepath.Join(path, "*difference*"))
				for _, f := range files {
					text, _ := os.ReadFile(f)
					t.Logf("missing:\n%s", text)
				}
				t.Error("migrations do not end in the schema of ent/schema; run `make migration NAME=what_changed`")
			}
		})
	}
}
