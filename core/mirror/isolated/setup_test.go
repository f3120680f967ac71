package isolated_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/rs/zerolog"
)

const patience = 60 * time.Second

// rig is a hub's database with a journal that runs, and tenants' databases.
type rig struct {
	t       *testing.T
	hubURL  string
	hub     *store.Store
	journal *journal.Journal
	reader  *reader
	cfg     isolated.Config
	now     func() time.Time
	*isolated.Databases
}

// reader is the journal as tenants' databases read it, which can fail.
type reader struct {
	*journal.Journal
	mu    sync.Mutex
	count int // reads until one fails; 0: none does
}

var errCrash = errors.New("the hub crashed here")

func (r *reader) Read(ctx context.Context, s isolated.Span) ([]*event.Event, error) {
	r.mu.Lock()
	if r.count > 0 {
		if r.count--; r.count == 0 {
			r.mu.Unlock()
			return nil, errCrash
		}
	}
	r.mu.Unlock()
	q := journal.Query{After: s.After, Until: s.Until, Limit: s.Limit, MaxBytes: s.MaxBytes}
	tenant, subject := journal.TenantLane, journal.SubjectLane
	if s.Key != "" {
		q.Lane, q.Key = &tenant, s.Key
	}
	if s.Subject != "" {
		q.Lane, q.Key = &subject, s.Subject
	}
	if s.Type != "" {
		q.Types = []string{s.Type}
	}
	return r.Journal.Read(ctx, q)
}

func (r *reader) failAfter(reads int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count = reads
}

// urls are those of tenants' databases of each kind.
func urls(t *testing.T) map[string]func() string {
	return map[string]func() string{
		"sqlite": func() string { return "sqlite://" + filepath.Join(t.TempDir(), "tenants", "{tenant_id}.db") },
		"postgres": func() string {
			return tenantURL(t, pgtest.URL(t))
		},
	}
}

// tenantURL is a template on the server of url whose databases are dropped when
// the test ends.
func tenantURL(t *testing.T, url string) string {
	t.Helper()
	before, query, _ := strings.Cut(url, "?")
	if query != "" {
		query = "?" + query
	}
	slash := strings.LastIndexByte(before, '/')
	prefix := before[slash+1:][:24] + "_"
	t.Cleanup(func() { dropAll(t, url, prefix) })
	return before[:slash+1] + prefix + "{tenant_id}" + query
}

func dropAll(t *testing.T, url, prefix string) {
	t.Helper()
	ctx := context.Background()
	st, err := store.Open(ctx, url, store.Options{})
	if err != nil {
		t.Error(err)
		return
	}
	defer st.Close()
	var names []string
	err = st.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	}, `SELECT datname FROM pg_database WHERE starts_with(datname, ?)`, prefix)
	if err != nil {
		t.Error(err)
	}
	for _, name := range names {
		if name == prefix[:len(prefix)-1] {
			continue
		}
		if _, err := st.SQL(ctx).Exec(ctx, `DROP DATABASE IF EXISTS "`+name+`" WITH (FORCE)`); err != nil && !strings.Contains(err.Error(), "currently open") {
			t.Error(err)
		}
	}
}

// each runs a test with hub and tenants on each kind of database.
func each(t *testing.T, test func(t *testing.T, hubURL, tenantURL string)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, hubURL string) {
		for name, url := range urls(t) {
			t.Run("tenants-"+name, func(t *testing.T) {
				t.Parallel()
				hub := hubURL
				if strings.HasPrefix(hub, "sqlite") {
					hub = storetest.SQLite(t)
				} else {
					hub = pgtest.URL(t)
				}
				test(t, hub, url())
			})
		}
	})
}

func setup(t *testing.T, hubURL string, cfg isolated.Config) *rig {
	t.Helper()
	hub := storetest.Open(t, hubURL)
	r := &rig{t: t, hubURL: hubURL, hub: hub, cfg: cfg}
	r.journal = journal.New(hub, mirror.New(hub, mirror.Options{Log: zerolog.Nop()}), journal.Options{Log: zerolog.Nop()})
	r.reader = &reader{Journal: r.journal}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.journal.Run(ctx)
	}()
	r.restart()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		<-done
	})
	return r
}

// restart forgets everything that is not in a database.
func (r *rig) restart() {
	r.t.Helper()
	if r.Databases != nil {
		if err := r.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
	d, err := isolated.New(r.cfg, isolated.Deps{Store: r.hub, HubURL: r.hubURL, Journal: r.reader, Log: zerolog.Nop(), Now: r.now})
	if err != nil {
		r.t.Fatal(err)
	}
	r.Databases = d
}

// append journals events, in this order.
func (r *rig) append(events ...*event.Event) {
	r.t.Helper()
	for _, ev := range events {
		if _, err := r.journal.Append(context.Background(), ev); err != nil {
			r.t.Fatal(err)
		}
	}
}

// fill keeps facts in the hub's mirror, as a first fill does.
func (r *rig) fill(facts ...mirror.Fact) {
	r.t.Helper()
	fill(r.t, r.hub, facts...)
}

func fill(t *testing.T, st *store.Store, facts ...mirror.Fact) {
	t.Helper()
	m := mirror.New(st, mirror.Options{Log: zerolog.Nop()})
	for _, f := range facts {
		err := st.InTx(context.Background(), func(ctx context.Context) error {
			if err := st.TakeTurn(ctx); err != nil {
				return err
			}
			outcomes, err := m.Fill(ctx, []mirror.Fact{f})
			if err == nil && outcomes[0].Refused != nil {
				err = outcomes[0].Refused
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// settle dispatches and feeds until nothing is behind.
func (r *rig) settle() {
	r.t.Helper()
	ctx := context.Background()
	for {
		more, err := r.Dispatch(ctx)
		if err != nil {
			r.t.Fatal(err)
		}
		if more {
			continue
		}
		behind := r.list(true)
		if len(behind) == 0 {
			return
		}
		for _, b := range behind {
			if _, err := r.Feed(ctx, b.Tenant, true); err != nil {
				r.t.Fatalf("feed %q: %v", b.Tenant, err)
			}
		}
	}
}

func (r *rig) list(behind bool) []isolated.Database {
	r.t.Helper()
	list, err := isolated.List(context.Background(), r.hub, behind, "", 10000)
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

// at returns what the hub knows of a tenant's database.
func (r *rig) at(tenant string) isolated.Database {
	r.t.Helper()
	for _, d := range r.list(false) {
		if d.Tenant == tenant {
			return d
		}
	}
	r.t.Fatalf("tenant %q has no database", tenant)
	return isolated.Database{}
}

// open opens a tenant's database by itself.
func (r *rig) open(tenant string) *store.Store {
	r.t.Helper()
	kind := "sqlite:"
	if strings.HasPrefix(r.cfg.URL, "postgres") {
		kind = "postgres:"
	}
	st, err := store.Open(context.Background(), r.URL(kind+r.at(tenant).Place), store.Options{MustExist: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = st.Close() })
	return st
}

// dump is every row of the mirror's tables, but for synced_at, to the byte of
// sync_state.
func dump(ctx context.Context, t testing.TB, db store.SQL) []string {
	t.Helper()
	var all []string
	for _, table := range isolated.Mirrored() {
		err := db.Query(ctx, func(rows *sql.Rows) error {
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			values, pointers := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				pointers[i] = &values[i]
			}
			if err := rows.Scan(pointers...); err != nil {
				return err
			}
			line := table
			for i, v := range values {
				if b, ok := v.([]byte); ok {
					v = string(b)
				}
				if columns[i] != "synced_at" {
					line += fmt.Sprintf(" %s=%v", columns[i], v)
				}
			}
			all = append(all, line)
			return nil
		}, "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(all)
	return all
}

func diff(want, got []string) string {
	var b strings.Builder
	for _, line := range want {
		if !slices.Contains(got, line) {
			fmt.Fprintf(&b, "missing: %s\n", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			fmt.Fprintf(&b, "unasked: %s\n", line)
		}
	}
	return b.String()
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
