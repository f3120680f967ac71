package isolated_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/internal/storetest"
)

// wantOf compares a tenant's database with what its events and facts make of an
// empty one.
func (r *rig) wantOf(what, tenant string, all []said, facts ...mirror.Fact) {
	r.t.Helper()
	want := replay(r.t, r.cfg.URL, concern(all, tenant, facts...), of(facts, tenant)...)
	st := r.open(tenant)
	defer st.Close()
	if d := diff(want, dump(context.Background(), r.t, st.ReadSQL())); d != "" {
		r.t.Errorf("%s: tenant %q:\n%s", what, tenant, d)
	}
}

func factAbout(tenant, sub string, readAt int64) mirror.Fact {
	return mirror.Fact{
		Key: "authvital/tenant/" + tenant + "/" + sub, ReadAt: readAt,
		Tenant:     mirror.FactTenant{ID: tenant, Name: "Fjord"},
		Membership: mirror.FactMembership{ID: "m_" + sub, Status: mirror.MembershipActive, Roles: []string{"owner"}},
		Person:     mirror.FactPerson{ID: sub, Email: sub + "@read.example"},
		Access:     []mirror.FactAccess{{ApplicationID: "a1", ApplicationName: "Ledger", RoleSlug: "editor"}},
	}
}

// personal is an event about a person that names no tenant.
func (w *world) personal(typ, sub, email string) said {
	return said{Event: w.event(typ, false, "", "", map[string]any{"sub": sub, "email": email}), person: sub}
}

func TestWhatAFirstFillHasReadReachesATenantOfWhichNoEventTells(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, hubURL, tenantURL string) {
		r := setup(t, hubURL, isolated.Config{URL: tenantURL})
		w := &world{Rand: random(7), t: t}
		facts := []mirror.Fact{factAbout("t1", "p1", start.Unix()), factAbout("t2", "p2", start.Unix())}
		r.fill(facts...)
		r.settle() // before the first event
		if at := r.at("t1"); at.State != "current" || at.Target != 0 {
			t.Errorf("%+v", at)
		}
		r.wantOf("no event", "t1", nil, facts...)

		// The person whom the fact names is the tenant's, so what is said about the
		// person comes along.
		all := []said{w.personal(event.TypeSubjectUpdated, "p1", "new@a.example"), w.personal(event.TypeSubjectUpdated, "p3", "p3@a.example")}
		r.say(all)
		r.settle()
		r.wantOf("an event about its person", "t1", all, facts...)
		r.wantOf("an event about another's", "t2", all, facts...)

		// Also what was said before the fact was read.
		before := r.at("t2")
		later := []mirror.Fact{factAbout("t2", "p3", start.Unix()+5), factAbout("t2", "p2", start.Unix()+6)}
		later[1].Access = nil // it is over
		facts = append(facts, later...)
		r.fill(later...)
		if _, err := r.Dispatch(context.Background()); err != nil {
			t.Fatal(err)
		}
		if at := r.at("t2"); at.State != "behind" || at.Since.Before(before.Since) {
			t.Errorf("%+v, was %+v", at, before)
		}
		r.settle()
		r.wantOf("a later fact", "t2", all, facts...)
		r.wantOf("another tenant's fact", "t1", all, facts...)
		access, err := r.open("t2").Read().AppAccess.Query().IDs(context.Background())
		if err != nil || len(access) != 2 {
			t.Errorf("%v, %v", access, err)
		}

		if _, err := isolated.Rebuild(context.Background(), r.hub, ""); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.wantOf("rebuilt", "t1", all, facts...)
		r.wantOf("rebuilt", "t2", all, facts...)
	})
}

func TestADatabaseThatIsMadeAgainGetsWhatAFirstFillHasRead(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + t.TempDir() + "/{tenant_id}.db", Drop: true})
	w := &world{Rand: random(8), t: t}
	facts := []mirror.Fact{factAbout("t1", "p1", start.Unix()), factAbout("t2", "p2", start.Unix())}
	r.fill(facts...)
	r.settle()

	// Its file is lost.
	place := r.at("t2").Place
	r.restart()
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	if n, err := isolated.Retry(ctx, r.hub, "t2"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	r.settle()
	r.wantOf("made again", "t2", nil, facts...)

	// It is dropped with its tenant. A fact does not bring it back; the tenant does.
	id := map[string]any{"tenant_id": "t1", "name": "Fjord", "slug": "fjord"}
	all := []said{{Event: w.at(event.TypeTenantDeleted, "t1", id), tenant: "t1"}}
	r.say(all)
	r.settle()
	late := factAbout("t1", "p3", start.Unix()+9)
	facts = append(facts, late)
	r.fill(late)
	r.settle()
	if at := r.at("t1"); at.State != "deleted" || r.exists(at.Place) {
		t.Fatalf("%+v", at)
	}
	all = append(all, said{Event: w.at(event.TypeTenantCreated, "t1", id), tenant: "t1"})
	r.say(all[1:])
	r.settle()
	r.wantOf("back", "t1", all, facts...)
}

func TestAFactThatADatabaseRefusesCostsOnlyItself(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + t.TempDir() + "/{tenant_id}.db"})
	r.fill(factAbout("t1", "p1", start.Unix()))
	r.settle()
	if _, err := r.open("t1").SQL(ctx).Exec(ctx, `CREATE TRIGGER no BEFORE INSERT ON av_identities WHEN new.sub = 'p2'
 BEGIN SELECT RAISE(ABORT, 'not here'); END`); err != nil {
		t.Fatal(err)
	}
	r.fill(factAbout("t1", "p2", start.Unix()), factAbout("t1", "p3", start.Unix()))
	// This one was changed by hand.
	if _, err := r.hub.SQL(ctx).Exec(ctx, `INSERT INTO avhub_backfill_facts (key, tenant_id, read_at, fact) VALUES ('x', 't1', 1, '{')`); err != nil {
		t.Fatal(err)
	}
	r.fill(factAbout("t1", "p4", start.Unix()))
	r.settle()
	subs, err := r.open("t1").Read().Identity.Query().IDs(ctx)
	if got := strings.Join(subs, " "); err != nil || got != "p1 p3 p4" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestADatabaseWithFactsThatTheHubDoesNotKnowIsNotFed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := setup(t, storetest.SQLite(t), isolated.Config{URL: "sqlite://" + t.TempDir() + "/{tenant_id}.db"})
	r.fill(factAbout("t1", "p1", start.Unix()), factAbout("t1", "p2", start.Unix()))
	r.settle()
	// As if the hub's database came from a backup.
	if _, err := r.hub.SQL(ctx).Exec(ctx, `UPDATE avhub_counters SET value = 1 WHERE name = 'tenants_facts'`); err != nil {
		t.Fatal(err)
	}
	if _, err := isolated.Retry(ctx, r.hub, "t1"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Feed(ctx, "t1", true); err == nil || !strings.Contains(err.Error(), "facts of first fills up to number 2") || !strings.Contains(err.Error(), "avhub tenant rebuild") {
		t.Errorf("%v", err)
	}
}
