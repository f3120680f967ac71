package storetest

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/pressly/goose/v3"
)

// Old makes a SQLite file with the schema of an avhub that lacks the newest
// migration.
func Old(t testing.TB, file string) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	tree := os.DirFS(filepath.Join(filepath.Dir(here), "..", "..", "core", "store", "migrations", "sqlite"))
	db, err := sql.Open("sqlite", file) // the driver is core/store's
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	p, err := goose.NewProvider(goose.DialectSQLite3, db, tree, goose.WithTableName("avhub_migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	all := p.ListSources()
	if _, err := p.UpTo(context.Background(), all[len(all)-2].Version); err != nil {
		t.Fatal(err)
	}
}
