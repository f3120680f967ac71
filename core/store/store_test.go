package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
)

func TestATransactionIsCarriedInTheContext(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		st := storetest.Open(t, url)
		failure := errors.New("changed my mind")
		err := st.InTx(ctx, func(ctx context.Context) error {
			if _, err := st.SQL(ctx).Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES (?, ?)`, "a", 1); err != nil {
				return err
			}
			return st.InTx(ctx, func(ctx context.Context) error { // joins
				if n := st.Ent(ctx).Counter.Query().CountX(ctx); n != 1 {
					t.Errorf("ent sees %d rows in the transaction", n)
				}
				// For these ent begins a transaction of its own.
				st.Ent(ctx).Counter.UpdateOneID("a").SetValue(2).ExecX(ctx)
				if c := st.Ent(ctx).Counter.GetX(ctx, "a"); c.Value != 2 {
					t.Errorf("ent reads %v", c)
				}
				return failure
			})
		})
		if !errors.Is(err, failure) {
			t.Fatal(err)
		}
		if n := st.Read().Counter.Query().CountX(ctx); n != 0 {
			t.Errorf("%d rows survived the roll-back", n)
		}
	})
}

func TestInsertTakesEveryKindOfValue(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		st := storetest.Open(t, url)
		now := store.Now()
		var rows [][]any
		for i := range 700 { // more than one statement's worth on either database
			id := "org-" + strings.Repeat("x", i%5) + time.Duration(i).String()
			var policy, minutes any
			if i%2 == 1 {
				policy, minutes = store.JSON(`{"min": 12}`), int64(i)
			}
			rows = append(rows, []any{id, now, now, now, []byte{0, 1}, "O'Neil \"&\" Søn", nil, i%3 == 0, minutes, policy})
		}
		insert := `INSERT INTO av_organizations (tenant_id, created_at, updated_at, synced_at, sync_state, name, owner_email, require_mfa, session_lifetime_minutes, password_policy)`
		upsert := `ON CONFLICT (tenant_id) DO UPDATE SET name = excluded.name`
		for range 2 { // the second time they are there already
			if err := st.InTx(ctx, func(ctx context.Context) error { return st.SQL(ctx).Insert(ctx, insert, rows, upsert) }); err != nil {
				t.Fatal(err)
			}
		}
		all := st.Read().Organization.Query().AllX(ctx)
		if len(all) != len(rows) {
			t.Fatalf("%d rows", len(all))
		}
		odd := 0
		for _, o := range all {
			if o.Name != "O'Neil \"&\" Søn" || o.OwnerEmail != nil || !o.CreatedAt.Equal(now) || o.Plan != "free" {
				t.Fatalf("%+v", o)
			}
			if o.SessionLifetimeMinutes != nil {
				odd++
				if !strings.Contains(string(o.PasswordPolicy), "12") {
					t.Fatalf("policy %s", o.PasswordPolicy)
				}
			}
		}
		if odd != 350 {
			t.Errorf("%d rows have minutes", odd)
		}
	})
}

func TestSeveralProcessesMayMigrateAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		errs := make(chan error, 4)
		for range cap(errs) {
			go func() {
				st, err := store.Open(context.Background(), url, store.Options{})
				if err != nil {
					errs <- err
					return
				}
				defer st.Close()
				_, err = st.Migrate(context.Background())
				errs <- err
			}()
		}
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"mysql://root:canary@localhost/x":                           "sqlite://path/to/file.db or postgres://",
		"sqlite://":                                                 "no path",
		"postgres://u:canary@127.0.0.1:1/x":                         "is the server up",
		"postgres://u:canary@[bad/x":                                "not a Postgres URL",
		"sqlite://" + filepath.Join(t.TempDir(), "no", "such.file"): "avhub migrate",
	} {
		st, err := store.Open(context.Background(), url, store.Options{MustExist: true})
		if err == nil {
			_ = st.Close()
			t.Errorf("%s was opened", url)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestLaw11_TheDatabaseFileIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hub.db")
	storetest.Open(t, "sqlite://"+path)
	for _, name := range []string{path, path + "-wal"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestLaw1_CommitsWaitForTheDisk(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	ask := func(st *store.Store, query string) (answer string) {
		t.Helper()
		err := st.InTx(ctx, func(ctx context.Context) error {
			return st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&answer) }, query)
		})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if got := ask(storetest.Open(t, storetest.SQLite(t)), `PRAGMA synchronous`); got != "2" { // FULL
		t.Errorf("SQLite's synchronous is %s", got)
	}
	off := storetest.Open(t, pgtest.URL(t)+"&options=-csynchronous_commit%3Doff")
	if got := ask(off, `SHOW synchronous_commit`); got != "on" {
		t.Errorf("synchronous_commit is %q where the connection asked for off", got)
	}
}

// What can be made again need not wait for the disk with each commit; everything
// else must.
func TestOnlyARelaxedDatabaseMayForgetItsLastCommits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for relaxed, want := range map[bool]int{false: 2, true: 1} { // FULL and NORMAL
		st, err := store.Open(ctx, "sqlite://"+filepath.Join(t.TempDir(), "a.db"), store.Options{Small: relaxed, Relaxed: relaxed})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		var got int
		err = st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&got) }, "PRAGMA synchronous")
		if err != nil || got != want {
			t.Errorf("relaxed %v: synchronous is %d, %v", relaxed, got, err)
		}
	}
}

// A unit of many statements has its time as long as it comes on; a statement that
// does not come back ends it.
func TestABoundIsForEachStatement(t *testing.T) {
	t.Parallel()
	st := storetest.Open(t, pgtest.URL(t))
	const limit = 400 * time.Millisecond
	work := func(sleep string, times int) error {
		ctx, cancel := st.Bound(context.Background(), limit)
		defer cancel()
		return st.InTx(ctx, func(ctx context.Context) error {
			for range times {
				if _, err := st.SQL(ctx).Exec(ctx, `SELECT pg_sleep(`+sleep+`)`); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := work("0.05", 20); err != nil {
		t.Errorf("many short statements: %v", err)
	}
	begin := time.Now()
	if err := work("20", 1); err == nil || time.Since(begin) > 10*time.Second {
		t.Errorf("one long statement: %v after %s", err, time.Since(begin))
	}
}
