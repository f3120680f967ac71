package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/journal/retention"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
)

// load is senders that repeat each event until it is accepted.
type load struct {
	b                   *bundle
	working             sync.WaitGroup
	ended               atomic.Bool
	accepted, refused   atomic.Int64
	refusedInARow, next atomic.Int64
}

func (b *bundle) load(senders int) *load {
	l := &load{b: b}
	for range senders {
		l.working.Go(func() {
			for !l.ended.Load() {
				id := fmt.Sprintf("load%d", l.next.Add(1))
				for {
					_, err := b.append(decoded(b.t, "s", body(id, "t", "{}")))
					if err == nil {
						break
					}
					if errors.Is(err, journal.ErrClosed) {
						b.t.Error(err)
						return
					}
					l.refused.Add(1)
					l.refusedInARow.Add(1)
					time.Sleep(5 * time.Millisecond) // as senders do
				}
				l.accepted.Add(1)
				l.refusedInARow.Store(0)
			}
		})
	}
	return l
}

// more waits until something was accepted that was sent from now on.
func (l *load) more() {
	l.b.t.Helper()
	was := l.accepted.Load()
	until(l.b.t, "events are accepted again", func() bool { return l.accepted.Load() > was+100 })
}

func (l *load) stalls() {
	l.b.t.Helper()
	until(l.b.t, "events are refused", func() bool { return l.refusedInARow.Load() > 20 })
}

// end waits for all senders, and asserts that each event is there once.
func (l *load) end() {
	l.b.t.Helper()
	l.ended.Store(true)
	l.working.Wait()
	seen := map[string]bool{}
	for after := int64(0); ; {
		events, err := l.b.journal.Read(context.Background(), journal.Query{After: after, Limit: 1000})
		if err != nil {
			l.b.t.Fatal(err)
		}
		if len(events) == 0 {
			break
		}
		for _, ev := range events {
			if after++; ev.Position != after || seen[ev.ID] {
				l.b.t.Fatalf("event %s at %d after %d", ev.ID, ev.Position, after-1)
			}
			seen[ev.ID] = true
		}
	}
	if int64(len(seen)) != l.accepted.Load() {
		l.b.t.Errorf("%d events were accepted and %d are there", l.accepted.Load(), len(seen))
	}
	if l.refused.Load() == 0 {
		l.b.t.Error("nothing was ever refused, so there was no trouble")
	}
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func (b *bundle) exec(query string) {
	b.t.Helper()
	if _, err := b.store.SQL(context.Background()).Exec(context.Background(), query); err != nil {
		b.t.Fatal(err)
	}
}

// A limit to the pages of the database is a full disk as SQLite tells of it.
func TestLaw1_AFullDatabaseRefusesAndRecovers(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), projector{}, journal.Options{})
	l := b.load(8)
	l.more()
	b.exec(`PRAGMA max_page_count = 1`) // it becomes what there is
	l.stalls()
	pruner := retention.New(retention.Config{Retain: time.Nanosecond}, retention.Deps{Store: b.store, Journal: b.journal,
		Holders: []retention.Holder{func(context.Context) ([]retention.Hold, error) { return []retention.Hold{{By: "all"}}, nil }}})
	if _, err := pruner.Prune(t.Context(), nil); err != nil {
		t.Errorf("pruning on a full disk: %v", err)
	}
	b.exec(`PRAGMA max_page_count = 1073741823`)
	l.more()
	l.end()
}

// When the disk is full, removing what is old makes room for what is new.
func TestPruningMakesRoomInAFullDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), projector{}, journal.Options{})
	for i := range 300 {
		if _, err := b.append(decoded(t, "s", body(fmt.Sprint(i), "t", "{}"))); err != nil {
			t.Fatal(err)
		}
	}
	b.exec(`PRAGMA max_page_count = 1`)
	n := 0
	for ; ; n++ {
		if _, err := b.append(decoded(t, "s", body(fmt.Sprintf("more%d", n), "t", "{}"))); err != nil {
			break
		}
	}
	later := store.Now().Add(365 * 24 * time.Hour)
	b.exec(fmt.Sprintf(`INSERT INTO avhub_counters (name, value) VALUES ('journal_clock', %d)`, later.UnixMicro()))
	pruner := retention.New(retention.Config{Retain: time.Hour}, retention.Deps{Store: b.store, Journal: b.journal, Now: func() time.Time { return later }})
	if done, err := pruner.Prune(t.Context(), nil); err != nil || done.Events != int64(300+n) {
		t.Fatalf("pruned %+v: %v", done, err)
	}
	for i := range 200 {
		if _, err := b.append(decoded(t, "s", body(fmt.Sprintf("new%d", i), "t", "{}"))); err != nil {
			t.Fatalf("event %d after room was made: %v", i, err)
		}
	}
}

// mountTmpfs gives a real, small disk, where that is allowed.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a small disk; TestLaw1_AFullDatabaseRefusesAndRecovers needs none")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a small disk cannot be mounted here: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

func TestLaw1_AFullDiskRefusesAndRecovers(t *testing.T) {
	t.Parallel()
	dir := mountTmpfs(t, "24m")
	b := setup(t, "sqlite://"+filepath.Join(dir, "hub.db"), projector{}, journal.Options{})
	l := b.load(8)
	l.more()
	for range 2 {
		// Somebody else fills the disk, to the last byte.
		ballast, err := os.Create(filepath.Join(dir, "ballast"))
		if err != nil {
			t.Fatal(err)
		}
		for chunk := make([]byte, 64<<10); err == nil; {
			_, err = ballast.Write(chunk)
		}
		_ = ballast.Close()
		l.stalls()
		if err := os.Remove(ballast.Name()); err != nil {
			t.Fatal(err)
		}
		l.more()
	}
	l.end()
}

func TestLaw1_ADatabaseThatBecomesReadOnlyRefusesAndRecovers(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), projector{}, journal.Options{})
	l := b.load(8)
	l.more()
	b.exec(`PRAGMA query_only = 1`)
	l.stalls()
	b.exec(`PRAGMA query_only = 0`)
	l.more()
	l.end()
}

func TestLaw7_APostgresThatEndsUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	b := setup(t, server.URL(), projector{}, journal.Options{})
	l := b.load(16)
	for _, end := range []func(){func() { server.Stop(pgtest.Fast) }, server.Kill9} {
		l.more()
		end()
		l.stalls()
		server.Start()
		l.more()
	}
	l.end()
}

// Connections that are cut may have committed or not; nobody can tell. Sending again
// is right in both cases.
func TestLaw2_ConnectionsThatAreCutUnderLoadDoubleNothing(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, pgtest.URL(t))
	b := setup(t, proxy.url, projector{}, journal.Options{})
	l := b.load(16)
	for range 20 {
		was := l.accepted.Load()
		until(t, "events are accepted", func() bool { return l.accepted.Load() > was+20 })
		proxy.cut()
	}
	l.more()
	l.end()
}

func TestLaw1_APostgresThatBecomesReadOnlyRefusesAndRecovers(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	b := setup(t, url, projector{}, journal.Options{})
	l := b.load(8)
	l.more()
	admin := storetest.Open(t, url)
	ctx := context.Background()
	set := func(value string) {
		t.Helper()
		err := admin.InTx(ctx, func(ctx context.Context) error {
			db := admin.SQL(ctx)
			for _, q := range []string{
				`SET TRANSACTION READ WRITE`,
				`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = ` + value + `', current_database()); END $$`,
				// New connections have it; the old ones are ended, as by a fail-over.
				`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
			} {
				if _, err := db.Exec(ctx, q); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	set("on")
	l.stalls()
	set("off")
	l.more()
	l.end()
}
