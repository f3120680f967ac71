package isolated_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
)

// damage makes a row unreadable for the mirror, in a tenant's database and in the
// hub's, so that events about it fail in both.
func (r *rig) damage(tenant, table, key, id string) (repair func()) {
	r.t.Helper()
	ctx := context.Background()
	var undo []func()
	own := r.open(tenant)
	for _, st := range []*store.Store{r.hub, own} {
		set := func(state []byte) {
			n, err := st.SQL(ctx).Exec(ctx, "UPDATE "+table+" SET sync_state = ? WHERE "+key+" = ?", state, id)
			if err != nil || n != 1 {
				r.t.Fatalf("%d rows, %v", n, err)
			}
		}
		was := state(r.t, st, table, key, id)
		set([]byte("broken"))
		undo = append(undo, func() { set(was) })
	}
	return func() {
		for _, fn := range undo {
			fn()
		}
		if err := own.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
}

func state(t *testing.T, st *store.Store, table, key, id string) (state []byte) {
	t.Helper()
	err := st.ReadSQL().Query(context.Background(), func(rows *sql.Rows) error { return rows.Scan(&state) },
		"SELECT sync_state FROM "+table+" WHERE "+key+" = ?", id)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func (r *rig) reapply(applied int64) {
	r.t.Helper()
	done, err := r.journal.Reapply(context.Background(), journal.Reapplication{})
	if err != nil || done.Applied != applied || done.Failed != 0 {
		r.t.Fatalf("%+v, %v", done, err)
	}
}

// Events over which a database had stumbled when they came, and that were
// applied later in the hub's mirror, reach it as well, of whichever kind they are.
func TestWhatWasReappliedReachesTenantsDatabases(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, hubURL, tenantURL string) {
		r := setup(t, hubURL, isolated.Config{URL: tenantURL})
		w := &world{Rand: random(9), t: t}
		member := func(tenant, sub string) said {
			return w.about(event.TypeMemberJoined, tenant, map[string]any{"membership_id": "m_" + sub + tenant, "sub": sub})
		}
		application := func(typ, name string) said {
			ev := w.event(typ, true, "", "", map[string]any{"application_id": "a1", "name": name})
			return said{Event: ev, global: true}
		}
		var all []said
		say := func(some ...said) {
			r.say(some)
			all = append(all, some...)
			r.settle()
		}
		say(member("t1", "p1"), member("t2", "p2"), w.personal(event.TypeSubjectCreated, "p1", "old@a.example"), application(event.TypeApplicationCreated, "Ledger"))
		for _, c := range []struct {
			of             string
			table, key, id string
			event          said
		}{
			{"its person", "av_identities", "sub", "p1", w.newer(w.personal(event.TypeSubjectUpdated, "p1", "new@a.example"))},
			{"everybody", "av_applications", "application_id", "a1", application(event.TypeApplicationDeleted, "Ledger")},
			{"the tenant", "av_identities", "sub", "p1", w.about(event.TypeMemberLeft, "t1", map[string]any{"membership_id": "m_p1t1", "sub": "p1"})},
		} {
			repair := r.damage("t1", c.table, c.key, c.id)
			say(c.event)
			say(member("t1", "p3"), member("t2", "p3"))
			repair()
			want := replay(t, r.cfg.URL, concern(all, "t1"))
			if diff(want, dump(t.Context(), t, r.open("t1").ReadSQL())) == "" {
				t.Fatalf("an event of %s did not fail", c.of)
			}
			target := r.at("t1").Target
			r.reapply(1)
			r.settle()
			r.wantOf("an event of "+c.of, "t1", all)
			r.wantOf("an event of "+c.of, "t2", all)
			if at := r.at("t1"); at.State != "current" || at.Position != target {
				t.Errorf("an event of %s: %+v, and its target was %d", c.of, at, target)
			}
		}
	})
}

// A backup of a tenant's database from before the events were reapplied lacks
// them, and its cursor is behind them.
func TestABackupFromBeforeAReapplicationGetsItAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + dir + "/{tenant_id}.db"})
	w := &world{Rand: random(10), t: t}
	joined := map[string]any{"membership_id": "m1", "sub": "p1"}
	all := []said{w.about(event.TypeMemberJoined, "t1", joined)}
	r.say(all)
	r.settle()
	repair := r.damage("t1", "av_identities", "sub", "p1")
	all = append(all, w.about(event.TypeMemberLeft, "t1", joined), w.about(event.TypeTenantUpdated, "t1", nil))
	r.say(all[1:])
	r.settle()
	repair()
	r.restart()
	file, old := filepath.Join(dir, "t1.db"), filepath.Join(dir, "old")
	copyFile(t, file, old)
	r.reapply(1)
	r.settle()
	r.wantOf("reapplied", "t1", all)

	r.restart()
	copyFile(t, old, file)
	if _, err := isolated.Retry(t.Context(), r.hub, "t1"); err != nil {
		t.Fatal(err)
	}
	r.settle()
	r.wantOf("restored", "t1", all)
}

// The tie itself may come with an event that is applied late: then what was said
// about the person since belongs to the tenant as well.
func TestAnEventThatTiesSomebodyLateBringsWhatWasSaidSince(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, hubURL, tenantURL string) {
		r := setup(t, hubURL, isolated.Config{URL: tenantURL})
		r.Sizes(3, 2)
		w := &world{Rand: random(11), t: t}
		all := []said{w.about(event.TypeTenantCreated, "t1", nil), w.about(event.TypeMemberJoined, "t1", map[string]any{"membership_id": "m1", "sub": "p1"})}
		for range 5 {
			all = append(all, w.newer(w.personal(event.TypeSubjectUpdated, "p1", w.one("a@a.example", "b@b.example"))))
		}
		r.say(all)
		r.settle()
		ctx := t.Context()
		// As an older version leaves it that could not read who joined.
		for _, st := range []*store.Store{r.hub, r.open("t1")} {
			for _, table := range []string{"av_identities", "av_memberships"} {
				if _, err := st.SQL(ctx).Exec(ctx, "DELETE FROM "+table); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := r.hub.SQL(ctx).Exec(ctx, `DELETE FROM avhub_tenant_people`); err != nil {
			t.Fatal(err)
		}
		if _, err := r.hub.SQL(ctx).Exec(ctx, `UPDATE avhub_tenant_databases SET target = 2, position = 2`); err != nil {
			t.Fatal(err)
		}
		if _, err := r.open("t1").SQL(ctx).Exec(ctx, `UPDATE avhub_tenant_databases SET position = 2`); err != nil {
			t.Fatal(err)
		}
		if _, err := r.hub.SQL(ctx).Exec(ctx, `UPDATE avhub_events SET failed = 'unknown' WHERE position = 2`); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.reapply(1)
		r.settle()
		r.wantOf("reapplied", "t1", all)
	})
}
