// Package storetest gives tests a migrated database of each kind: real SQLite,
// real Postgres, the same claims for both.
package storetest

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
)

// Each runs test on SQLite and on Postgres, in parallel, with the URL of an
// empty database.
func Each(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	for name, url := range map[string]func(testing.TB) string{"sqlite": SQLite, "postgres": pgtest.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, url(t))
		})
	}
}

// SQLite returns the URL of a database file that does not exist yet.
func SQLite(t testing.TB) string {
	return "sqlite://" + filepath.Join(t.TempDir(), "hub.db")
}

// Open opens and migrates a database and closes it when the test ends.
func Open(t testing.TB, url string) *store.Store {
	t.Helper()
	ctx := context.Background()
	st, err := store.Open(ctx, url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	if _, err := st.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	return st
}
