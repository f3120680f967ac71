package store_test

import (
	"context"
	"database/sql"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/internal/storetest"
	"github.com/pressly/goose/v3"
)

// upTo brings an empty database to the schema of a former avhub.
func upTo(t *testing.T, url string, version int64) *sql.DB {
	t.Helper()
	driver, dsn, dialect, folder := "pgx", url, goose.DialectPostgres, "postgres"
	if file, ok := strings.CutPrefix(url, "sqlite://"); ok {
		driver, dsn, dialect, folder = "sqlite", file, goose.DialectSQLite3, "sqlite"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p, err := goose.NewProvider(dialect, db, os.DirFS("migrations/"+folder), goose.WithTableName("avhub_migrations"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(context.Background(), version); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestCursorsOfOnePartitionKeepTheirPlace(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		old := upTo(t, url, 20261122011358)
		for _, statement := range []string{
			`INSERT INTO avhub_cursors (plugin, position, epoch, owner, state, reason, version, config_hash, updated_at, restarts)
			 VALUES ('billing', 42, 7, 'h/1', 'halted', 'why', 'v1', 'ff', 5, 3), ('audit', 1, 1, 'h/1', 'running', '', '', '', 6, 0)`,
			`INSERT INTO avhub_lanes (id, plugin, key, head) VALUES ('billing/tenant:a', 'billing', 'tenant:a', 40)`,
			`INSERT INTO avhub_dead_letters (plugin, key, position, event_id, type, event, reason) VALUES ('billing', 'tenant:b', 41, 'e', 't', '{}', 'r')`,
		} {
			if _, err := old.ExecContext(context.Background(), statement); err != nil {
				t.Fatal(err)
			}
		}
		st := storetest.Open(t, url)
		for query, want := range map[string][]string{
			`SELECT id, plugin, partition, position, epoch, owner, expires_at, floors, state, reason, version, config_hash, updated_at, restarts FROM avhub_cursors`: {
				"audit/0 audit 0 1 1 h/1 0 - running    6 0", "billing/0 billing 0 42 7 h/1 0 - halted why v1 ff 5 3"},
			`SELECT id, partitions, needs_backfill, restart FROM avhub_plugins`: {"audit 1 0 0", "billing 1 0 0"},
			`SELECT key, slot, head FROM avhub_lanes`:                           {"tenant:a -1 40"},
			`SELECT key, slot, position FROM avhub_dead_letters`:                {"tenant:b -1 41"},
		} {
			if got := lines(t, st, query); !slices.Equal(got, want) {
				t.Errorf("%s: %q", query, got)
			}
		}
	})
}
