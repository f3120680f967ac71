package mirror_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/pgtest"
)

// bench is a migrated database with a mirror in it.
type bench struct {
	*store.Store
	*mirror.Mirror
	clock *atomic.Int64 // Unix seconds, what the mirror takes for now
}

// onEach runs a test on both databases.
func onEach(t *testing.T, test func(t *testing.T, b bench)) {
	t.Parallel()
	for name, open := range map[string]func(testing.TB) bench{"sqlite": onSQLite, "postgres": onPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func onSQLite(t testing.TB) bench {
	t.Helper()
	return setup(t, "sqlite://"+filepath.Join(t.TempDir(), "avhub.db"))
}

func onPostgres(t testing.TB) bench {
	t.Helper()
	return setup(t, pgtest.URL(t))
}

func setup(t testing.TB, url string) bench {
	t.Helper()
	st, err := store.Open(context.Background(), url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := st.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	clock := new(atomic.Int64)
	clock.Store(1_800_000_000)
	m := mirror.New(st, mirror.Options{Now: func() time.Time { return time.Unix(clock.Load(), 0).UTC() }})
	return bench{st, m, clock}
}

// apply applies events as one batch, in a transaction of its own.
func (b bench) apply(t testing.TB, events ...*event.Event) {
	t.Helper()
	err := b.InTx(context.Background(), func(ctx context.Context) error { return b.Apply(ctx, events) })
	if err != nil {
		t.Fatal(err)
	}
}

// say applies what senders say, each in a transaction of its own, and returns
// the last one's event.
func (b bench) say(t testing.TB, all ...said) *event.Event {
	t.Helper()
	var ev *event.Event
	for _, s := range all {
		ev = s.event(t)
		b.apply(t, ev)
	}
	return ev
}

// tables are those whose content the law is about, and their keys.
var tables = map[string]string{
	"av_identities": "sub", "av_organizations": "tenant_id", "av_applications": "application_id", "av_sso_providers": "id",
	"av_memberships": "membership_id", "av_app_access": "id", "av_licenses": "assignment_id", "av_subscriptions": "subscription_id",
	"av_invitations":      "invite_id",
	"avhub_mirror_graves": "id",
}

// dump reads whole tables in a form that does not depend on the database. Of
// sync_state it takes every byte, of synced_at nothing.
func (b bench) dump(ctx context.Context, t interface{ Fatal(...any) }) map[string]map[string]any {
	all := map[string]map[string]any{}
	for table, key := range tables {
		err := b.SQL(ctx).Query(ctx, func(rows *sql.Rows) error {
			row, err := scanRow(rows)
			if err != nil {
				return err
			}
			delete(row, "synced_at")
			all[table+" "+row[key].(string)] = row
			return nil
		}, "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func scanRow(rows *sql.Rows) (map[string]any, error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	values := make([]any, len(types))
	pointers := make([]any, len(types))
	for i := range values {
		pointers[i] = &values[i]
	}
	if err := rows.Scan(pointers...); err != nil {
		return nil, err
	}
	row := map[string]any{}
	for i, c := range types {
		kind := strings.ToLower(c.DatabaseTypeName())
		v := values[i]
		if raw, ok := v.([]byte); ok {
			v = string(raw)
		}
		switch {
		case v == nil:
		case strings.HasPrefix(kind, "json"):
			var j any
			if err := json.Unmarshal([]byte(v.(string)), &j); err != nil {
				return nil, fmt.Errorf("%s: %w", c.Name(), err)
			}
			encoded, err := json.Marshal(j)
			if err != nil {
				return nil, err
			}
			v = string(encoded)
		case strings.HasPrefix(kind, "bool"):
			v = fmt.Sprint(v) == "true" || fmt.Sprint(v) == "1"
		}
		if at, ok := v.(time.Time); ok {
			v = at.UTC().Format(time.RFC3339Nano)
		}
		row[c.Name()] = v
	}
	return row, nil
}

func compare(want, got map[string]map[string]any) string {
	all := maps.Clone(want)
	maps.Copy(all, got)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		switch w, g := want[key], got[key]; {
		case w == nil:
			fmt.Fprintf(&b, "%s: unexpected %v\n", key, g)
		case g == nil:
			fmt.Fprintf(&b, "%s: missing %v\n", key, w)
		default:
			for _, column := range slices.Sorted(maps.Keys(w)) {
				if w[column] != g[column] {
					fmt.Fprintf(&b, "%s.%s:\n  want %v\n  got  %v\n", key, column, w[column], g[column])
				}
			}
		}
	}
	return b.String()
}

var errRollback = errors.New("roll back")

// within runs fn in a transaction that leaves nothing behind.
func (b bench) within(t interface{ Fatal(...any) }, fn func(ctx context.Context) error) {
	err := b.InTx(context.Background(), func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return errRollback
	})
	if !errors.Is(err, errRollback) {
		t.Fatal(err)
	}
}

// row reads one row, without the columns that are the hub's own; nil: there is
// none.
func (b bench) row(t testing.TB, table, id string) map[string]any {
	t.Helper()
	row := b.dump(context.Background(), t)[table+" "+id]
	if row == nil {
		return nil
	}
	delete(row, "sync_state")
	return row
}

// expect compares some columns of a row.
func expect(t testing.TB, row map[string]any, want map[string]any) {
	t.Helper()
	if row == nil {
		t.Fatalf("no row, want %v", want)
	}
	for column, w := range want {
		got, ok := row[column]
		if !ok {
			t.Errorf("there is no column %s", column)
		}
		if got != w {
			t.Errorf("%s = %#v, want %#v", column, got, w)
		}
	}
}

// changes writes an event's changes as "entity id field before → after".
func changes(ev *event.Event) []string {
	var lines []string
	for _, c := range ev.Changes {
		lines = append(lines, fmt.Sprintf("%s %s %s %s → %s", c.Entity, c.ID, c.Field, compacted(c.Before), compacted(c.After)))
	}
	return lines
}

func compacted(raw json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return "(no JSON)"
	}
	return b.String()
}

func expectChanges(t testing.TB, ev *event.Event, want ...string) {
	t.Helper()
	got := changes(ev)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("changes of %s:\n got  %s\n want %s", ev.Type, strings.Join(got, "\n      "), strings.Join(want, "\n      "))
	}
	if ev.Failed != "" {
		t.Errorf("failed: %s", ev.Failed)
	}
}
