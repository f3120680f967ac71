package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
)

func TestASnapshotSeesNothingOfWhatIsCommittedMeanwhile(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		st := storetest.Open(t, url)
		add := func(name string) {
			t.Helper()
			if _, err := st.SQL(ctx).Exec(ctx, `INSERT INTO avhub_counters (name, value) VALUES (?, ?)`, name, 1); err != nil {
				t.Fatal(err)
			}
		}
		count := func(ctx context.Context) (n int) {
			t.Helper()
			err := st.SQL(ctx).Query(ctx, func(rows *sql.Rows) error { return rows.Scan(&n) }, `SELECT count(*) FROM avhub_counters`)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		add("before")
		err := st.InSnapshot(ctx, func(inside context.Context) error {
			first := count(inside)
			add("meanwhile")
			if again := count(inside); first != 1 || again != 1 {
				t.Errorf("the snapshot sees %d rows and then %d", first, again)
			}
			if n := st.Ent(inside).Counter.Query().CountX(inside); n != 1 {
				t.Errorf("ent sees %d rows in the snapshot", n)
			}
			_, err := st.SQL(inside).Exec(inside, `DELETE FROM avhub_counters`)
			return err
		})
		if err == nil {
			t.Error("a snapshot could write")
		}
		if n := count(ctx); n != 2 {
			t.Errorf("%d rows after it", n)
		}
	})
}

func TestCursorsOfOneTransactionAreReadSideBySide(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		st := storetest.Open(t, url)
		var rows [][]any
		for i := range 25 {
			rows = append(rows, []any{fmt.Sprintf("c%02d", i), i})
		}
		if err := st.InTx(ctx, func(ctx context.Context) error {
			return st.SQL(ctx).Insert(ctx, `INSERT INTO avhub_counters (name, value)`, rows, "")
		}); err != nil {
			t.Fatal(err)
		}
		err := st.InSnapshot(ctx, func(ctx context.Context) error {
			up, err := st.SQL(ctx).Cursor(ctx, "up", `SELECT value FROM avhub_counters ORDER BY value`)
			if err != nil {
				return err
			}
			defer up.Close()
			down, err := st.SQL(ctx).Cursor(ctx, "down", `SELECT value FROM avhub_counters ORDER BY value DESC`)
			if err != nil {
				return err
			}
			defer down.Close()
			for from := 0; ; {
				var ups, downs []int
				collect := func(into *[]int) func(*sql.Rows) error {
					return func(rows *sql.Rows) error {
						var n int
						err := rows.Scan(&n)
						*into = append(*into, n)
						return err
					}
				}
				n, err := up.Next(ctx, 10, collect(&ups))
				m, e := down.Next(ctx, 10, collect(&downs))
				if err := errors.Join(err, e); err != nil {
					return err
				}
				if n != m || n != min(10, 25-from) {
					t.Fatalf("%d and %d rows from %d on", n, m, from)
				}
				for i := range n {
					if ups[i] != from+i || downs[i] != 24-from-i {
						t.Errorf("row %d is %d and %d", from+i, ups[i], downs[i])
					}
				}
				if from += n; n < 10 {
					return nil
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestLaw11_AScratchDatabaseLeavesNoFileBehind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("SQLITE_TMPDIR", dir)
	ctx := context.Background()
	st, err := store.OpenScratch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	err = st.InTx(ctx, func(ctx context.Context) error {
		db := st.SQL(ctx)
		if _, err := db.Exec(ctx, `CREATE TABLE t (b BLOB)`); err != nil {
			return err
		}
		for range 5 { // more than its memory
			if _, err := db.Exec(ctx, `INSERT INTO t VALUES (zeroblob(16777216))`); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("there are files while it is open: %v (%v)", left, err)
	}
	// The file is there, without a name: that is what holds what memory does not.
	if deleted := openDeletedFiles(t, dir); deleted == 0 {
		t.Error("nothing went to the temporary folder")
	}
}

// openDeletedFiles counts files of a folder that this process holds open without
// a name.
func openDeletedFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("this system does not tell which files are open")
	}
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil &&
			len(target) > len(dir) && target[:len(dir)] == dir {
			n++
		}
	}
	return n
}
