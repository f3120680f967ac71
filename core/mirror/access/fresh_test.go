package access_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/access"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
)

// annInAcme is a person with access in an active tenant.
func annInAcme(t *testing.T, w world, h *hub) {
	t.Helper()
	h.send(t, "subject.created", "", "", `{"sub":"ann"}`)
	h.send(t, "tenant.created", "acme", "", `{"tenant_id":"acme","name":"Acme","slug":"acme","created_at":"2026-01-01T00:00:00Z","settings":{}}`)
	if n, err := w.Ent(t.Context()).AppAccess.Query().Count(t.Context()); err != nil || n > 0 {
		t.Fatalf("%d %v", n, err)
	}
	w.access("ann", app, "acme", true, "")
}

const suspendAcme = `{"tenant_id":"acme","name":"Acme","slug":"acme","suspended_at":"2026-01-01T00:00:00Z"}`

// The hub's clock stands still here, so it is the commit alone that tells.
func TestACheckAfterACommitOfTheSameHubSeesItsEffect(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		h := newHub(t, w.Store)
		annInAcme(t, w, h)
		want := func(within, anywhere access.Reason) {
			t.Helper()
			for range 2 {
				if got := reasonIn(t, h.Checker, "ann", app, "acme"); got != within {
					t.Errorf("within: %s, want %s", got, within)
				}
				if got := reasonOf(t, h.Checker, "ann", app); got != anywhere {
					t.Errorf("anywhere: %s, want %s", got, anywhere)
				}
			}
		}
		want(access.Allowed, access.Allowed)
		h.send(t, "tenant.suspended", "acme", "", suspendAcme)
		want(access.TenantSuspended, access.TenantSuspended)
		h.send(t, "tenant.updated", "acme", "", `{"tenant_id":"acme","plan":"pro","status":"active","changed_fields":["status","plan"]}`)
		want(access.Allowed, access.Allowed)
		h.send(t, "subject.deactivated", "", "", `{"sub":"ann"}`)
		want(access.IdentityDeactivated, access.IdentityDeactivated)
		h.send(t, "subject.deleted", "", "", `{"sub":"ann"}`)
		want(access.UnknownIdentity, access.UnknownIdentity)
		if got := reasonIn(t, h.Checker, "bob", app, "acme"); got != access.UnknownIdentity {
			t.Errorf("bob: %s", got)
		}
		h.send(t, "subject.created", "", "", `{"sub":"bob"}`)
		if got := reasonIn(t, h.Checker, "bob", app, "acme"); got != access.NoAccess {
			t.Errorf("bob: %s", got)
		}
		h.send(t, "tenant.deleted", "acme", "", `{"tenant_id":"acme","name":"Acme","slug":"acme","deleted_at":"2026-01-01T00:00:00Z"}`)
		if got := reasonIn(t, h.Checker, "bob", app, "acme"); got != access.TenantDeleted {
			t.Errorf("bob: %s", got)
		}
		// A tenant that nobody had heard of is known once it is deleted, though
		// no row changes by that.
		if got := reasonIn(t, h.Checker, "bob", app, "globex"); got != access.NoAccess {
			t.Errorf("bob: %s", got)
		}
		h.send(t, "tenant.deleted", "globex", "", `{"tenant_id":"globex","name":"G","slug":"g","deleted_at":"2026-01-01T00:00:00Z"}`)
		if got := reasonIn(t, h.Checker, "bob", app, "globex"); got != access.TenantDeleted {
			t.Errorf("bob: %s", got)
		}
	})
}

// No row changes by that, so it is the event itself that tells.
func TestTheDeletionOfAnUnknownTenantIsSeenElsewhereWithinASecond(t *testing.T) {
	each(t, func(t *testing.T, w world, url string) {
		h := newHub(t, w.Store)
		h.send(t, "subject.created", "", "", `{"sub":"ann"}`)
		clock := newClock()
		c := access.New(storetest.Open(t, url), access.Options{Now: clock.Now})
		if got := reasonIn(t, c, "ann", app, "globex"); got != access.NoAccess {
			t.Fatal(got)
		}
		h.send(t, "tenant.deleted", "globex", "", `{"tenant_id":"globex","name":"G","slug":"g","deleted_at":"2026-01-01T00:00:00Z"}`)
		clock.advance(time.Second)
		if got := reasonIn(t, c, "ann", app, "globex"); got != access.TenantDeleted {
			t.Errorf("after a second: %s", got)
		}
	})
}

// Between a commit and the word that it is done, those who ask already get what
// was committed.
func TestNothingKeptIsUsedWhileACommitIsOnItsWay(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		w.person("ann", true)
		w.access("ann", app, "", true, "")
		c := access.New(w.Store, access.Options{Now: newClock().Now})
		if got := reasonOf(t, c, "ann", app); got != access.Allowed {
			t.Fatal(got)
		}
		ended := c.Committing([]*event.Event{{Changes: []event.Change{{Entity: "identity", ID: "ann", Field: "is_active"}}}})
		w.must(w.Ent(t.Context()).Identity.UpdateOneID("ann").SetIsActive(false).Exec(t.Context()))
		if got := reasonOf(t, c, "ann", app); got != access.IdentityDeactivated {
			t.Errorf("after the commit, before the word: %s", got)
		}
		w.must(w.Ent(t.Context()).Identity.UpdateOneID("ann").SetIsActive(true).Exec(t.Context()))
		ended(true)
		if got := reasonOf(t, c, "ann", app); got != access.Allowed {
			t.Errorf("after the word: %s", got)
		}
	})
}

func TestAnAnswerThatWasReadBeforeACommitIsNotKeptAfterIt(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		h := newHub(t, w.Store)
		annInAcme(t, w, h)
		once := sync.OnceFunc(func() { h.send(t, "tenant.suspended", "acme", "", suspendAcme) })
		h.AfterRead(once)
		if got := reasonOf(t, h.Checker, "ann", app); got != access.Allowed {
			t.Fatalf("the check that began before the commit: %s", got)
		}
		if got := reasonOf(t, h.Checker, "ann", app); got != access.TenantSuspended {
			t.Errorf("the one that began after it: %s", got)
		}
	})
}

func TestWhatAnotherHubCommitsIsSeenWithinASecond(t *testing.T) {
	each(t, func(t *testing.T, w world, url string) {
		h := newHub(t, w.Store)
		annInAcme(t, w, h)
		other := storetest.Open(t, url)
		clock := newClock()
		c := access.New(other, access.Options{Now: clock.Now})
		if got := reasonOf(t, c, "ann", app); got != access.Allowed {
			t.Fatal(got)
		}
		h.send(t, "tenant.suspended", "acme", "", suspendAcme)
		clock.advance(time.Second - 1)
		if got := reasonOf(t, c, "ann", app); got != access.Allowed {
			t.Errorf("nothing was kept: %s", got)
		}
		clock.advance(1)
		if got := reasonOf(t, c, "ann", app); got != access.TenantSuspended {
			t.Errorf("after a second: %s", got)
		}
		h.send(t, "tenant.updated", "acme", "", `{"tenant_id":"acme","plan":"pro","status":"active","changed_fields":["status","plan"]}`)
		for i := range 300 { // more than are looked at one by one
			h.send(t, "subject.created", "", "", fmt.Sprintf(`{"sub":"p%d"}`, i))
		}
		clock.advance(time.Second)
		if got := reasonOf(t, c, "ann", app); got != access.Allowed {
			t.Errorf("after many events: %s", got)
		}
	})
}

func TestWhatIsNotAnEventIsSeenWithinASecondOfATouch(t *testing.T) {
	each(t, func(t *testing.T, w world, url string) {
		w.person("ann", true)
		clock := newClock()
		c := access.New(w.Store, access.Options{Now: clock.Now})
		for i, active := range []bool{false, true, false} {
			before := reasonOf(t, c, "ann", app)
			w.must(w.InTx(t.Context(), func(ctx context.Context) error {
				if err := w.Ent(ctx).Identity.Update().SetIsActive(active).Exec(ctx); err != nil {
					return err
				}
				return mirror.Touch(ctx, w.Store)
			}))
			if got := reasonOf(t, c, "ann", app); got != before {
				t.Fatalf("%d: nothing was kept", i)
			}
			clock.advance(time.Second)
			if got := reasonOf(t, c, "ann", app); got == before {
				t.Errorf("%d: after a second it is still %s", i, got)
			}
		}
	})
}

// A membership that is new, changes hands or goes with its tenant is found by
// the changes that the mirror reports of it.
func TestChangesOfMembershipsAndAccessReachWhoIsConcerned(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		w.person("a/n n", true)
		w.access("a/n n", app, "t1", true, "")
		c := access.New(w.Store, access.Options{Now: newClock().Now})
		tell := func(changes ...event.Change) {
			c.Committing([]*event.Event{{Changes: changes}})(true)
		}
		want := func(when string, reason access.Reason) {
			t.Helper()
			if got := reasonIn(t, c, "a/n n", app, "t1"); got != reason {
				t.Errorf("%s: within %s, want %s", when, got, reason)
			}
			if got := reasonOf(t, c, "a/n n", app); got != reason {
				t.Errorf("%s: anywhere %s, want %s", when, got, reason)
			}
		}
		client := w.Ent(t.Context())
		want("at first", access.Allowed)
		id := w.member("a/n n", "t1", "suspended")
		tell(event.Change{Entity: "membership", ID: id, Field: "exists"},
			event.Change{Entity: "membership", ID: id, Field: "identity_id", Before: []byte("null"), After: []byte(`"a/n n"`)})
		want("with a new membership", access.MembershipSuspended)
		w.must(client.Membership.UpdateOneID(id).SetStatus("left").Exec(t.Context()))
		tell(event.Change{Entity: "membership", ID: id, Field: "status"})
		want("when its status changed", access.MembershipLeft)
		w.must(client.Membership.UpdateOneID(id).SetOrganizationID("t2").Exec(t.Context()))
		tell(event.Change{Entity: "membership", ID: id, Field: "organization_id", Before: []byte(`"t1"`), After: []byte(`"t2"`)})
		want("when it went to another tenant", access.Allowed)
		w.must(client.Membership.UpdateOneID(id).SetOrganizationID("t1").Exec(t.Context()))
		tell(event.Change{Entity: "membership", ID: id, Field: "organization_id", Before: []byte(`"t2"`), After: []byte(`"t1"`)})
		want("when it came back", access.MembershipLeft)
		w.must(client.Membership.DeleteOneID(id).Exec(t.Context()))
		tell(event.Change{Entity: "membership", ID: id, Field: "exists"})
		want("when it is gone", access.Allowed)
		w.must(client.AppAccess.Update().SetHasAccess(false).Exec(t.Context()))
		tell(event.Change{Entity: "app_access", ID: "a%2Fn%20n/app_1/t1", Field: "has_access"})
		want("without access", access.NoAccess)
		w.must(client.AppAccess.Update().SetHasAccess(true).Exec(t.Context()))
		tell(event.Change{Entity: "something new", ID: "x", Field: "y"})
		want("after a change that nobody understands", access.Allowed)
		w.must(client.AppAccess.Update().SetHasAccess(false).Exec(t.Context()))
		c.Committing([]*event.Event{{ChangesOmitted: 1}})(false)
		want("after more changes than are told", access.NoAccess)
	})
}

// Whatever happens, what is kept says what the database says: on the hub that
// commits at once, elsewhere a second later.
func TestWhatIsKeptNeverContradictsTheDatabase(t *testing.T) {
	each(t, func(t *testing.T, w world, url string) {
		h := newHub(t, w.Store, mirror.Options{MarkDeleted: w.Dialect() == store.SQLite}) // each once
		other := storetest.Open(t, url)
		clock := newClock()
		there := access.New(other, access.Options{Now: clock.Now})
		truth := access.New(w.Store, access.Options{Entries: -1})
		people, tenants, apps := []string{"p1", "p2"}, []string{"t1", "t2"}, []string{"a1", "a2"}
		r := rand.New(rand.NewPCG(1, 2))
		pick := func(list []string) string { return list[r.IntN(len(list))] }
		allowed := 0
		for range 150 {
			sub, tenant, app := pick(people), pick(tenants), pick(apps)
			user := fmt.Sprintf(`{"membership_id":"m-%s-%s","sub":%q,"role_id":"r","role_name":"R","role_slug":"r"}`, sub, tenant, sub)
			org := fmt.Sprintf(`{"tenant_id":%q,"name":"N","slug":%q,"created_at":"2026-01-01T00:00:00Z","settings":{}}`, tenant, pick(tenants))
			switch typ := pick([]string{
				"subject.created", "subject.created", "subject.deactivated", "subject.deleted",
				"tenant.created", "tenant.created", "tenant.suspended", "tenant.deleted", "tenant.updated",
				"member.joined", "member.left", "member.suspended", "member.activated",
				"app_access.granted", "app_access.granted", "app_access.granted", "app_access.revoked",
			}); typ {
			case "tenant.updated":
				h.send(t, typ, tenant, "", fmt.Sprintf(`{"tenant_id":%q,"plan":%q,"status":"active","slug":%q,"changed_fields":["status","plan","slug"]}`, tenant, pick(apps), pick(tenants)))
			case "tenant.created", "tenant.suspended", "tenant.deleted":
				h.send(t, typ, tenant, "", org)
			default:
				h.send(t, typ, tenant, app, user)
			}
			clock.advance(time.Second)
			for name, c := range map[string]*access.Checker{"here": h.Checker, "there": there} {
				allowed += compare(t, name, c, truth, people, tenants, apps)
			}
			if t.Failed() {
				return
			}
		}
		if allowed < 50 {
			t.Errorf("only %d answers were yes: the events prove little", allowed)
		}
	})
}

func compare(t *testing.T, name string, c, truth *access.Checker, people, tenants, apps []string) (allowed int) {
	t.Helper()
	same := func(what string, got, want any, err1, err2 error) {
		t.Helper()
		if fmt.Sprint(got, err1) != fmt.Sprint(want, err2) {
			t.Errorf("%s: %s: %v %v, the database says %v %v", name, what, got, err1, want, err2)
		}
	}
	for _, sub := range people {
		for _, app := range apps {
			got, err1 := c.Check(t.Context(), sub, app)
			want, err2 := truth.Check(t.Context(), sub, app)
			same("check", got, want, err1, err2)
			if got.Allowed {
				allowed++
			}
			for _, tenant := range tenants {
				got, err1 := c.CheckIn(t.Context(), sub, app, tenant)
				want, err2 := truth.CheckIn(t.Context(), sub, app, tenant)
				same("check in "+tenant, got, want, err1, err2)
			}
		}
	}
	for _, tenant := range tenants {
		got, err1 := c.Tenant(t.Context(), tenant)
		want, err2 := truth.Tenant(t.Context(), tenant)
		same("tenant", got, want, err1, err2)
		got, err1 = c.TenantBySlug(t.Context(), tenant)
		want, err2 = truth.TenantBySlug(t.Context(), tenant)
		same("slug", got, want, err1, err2)
	}
	return allowed
}

func TestManyWhoAskWhileEventsAreCommittedSeeThemAll(t *testing.T) {
	each(t, func(t *testing.T, w world, _ string) {
		h := newHub(t, w.Store)
		annInAcme(t, w, h)
		stop := make(chan struct{})
		var asking sync.WaitGroup
		for range 4 {
			asking.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if _, err := h.Check(t.Context(), "ann", app); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		for i := range 60 {
			typ, data, want := "tenant.suspended", suspendAcme, access.TenantSuspended
			if i%2 == 1 {
				typ, data, want = "tenant.updated", `{"tenant_id":"acme","plan":"pro","status":"active","changed_fields":["status"]}`, access.Allowed
			}
			h.send(t, typ, "acme", "", data)
			if got := reasonOf(t, h.Checker, "ann", app); got != want {
				t.Errorf("%d: %s, want %s", i, got, want)
			}
		}
		close(stop)
		asking.Wait()
	})
}

func TestADatabaseThatIsGoneIsAnErrorWithinASecondAndNeverAnOldAnswer(t *testing.T) {
	each(t, func(t *testing.T, w world, url string) {
		w.person("ann", true)
		w.access("ann", app, "", true, "")
		st, err := store.Open(t.Context(), url, store.Options{})
		w.must(err)
		clock := newClock()
		c := access.New(st, access.Options{Now: clock.Now, Features: map[string][]string{"*": {"sso"}}})
		if got := reasonOf(t, c, "ann", app); got != access.Allowed {
			t.Fatal(got)
		}
		w.must(st.Close())
		clock.advance(time.Second)
		if d, err := c.Check(t.Context(), "ann", app); err == nil || d.Allowed {
			t.Errorf("%+v %v", d, err)
		}
		if has, err := c.HasFeature(t.Context(), "acme", "sso"); err == nil || has {
			t.Errorf("%v %v", has, err)
		}
	})
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	t.Parallel()
	w := world{storetest.Open(t, storetest.SQLite(t)), t}
	c := access.New(w.Store, access.Options{Entries: 3})
	for i := range 10 {
		reasonOf(t, c, fmt.Sprint("p", i), app)
		_, _ = c.Tenant(t.Context(), fmt.Sprint("t", i))
	}
	if decisions, tenants := c.Kept(); decisions != 3 || tenants != 3 {
		t.Errorf("%d decisions and %d tenants are kept", decisions, tenants)
	}
	none := access.New(w.Store, access.Options{Entries: -1})
	reasonOf(t, none, "p", app)
	if decisions, _ := none.Kept(); decisions != 0 {
		t.Errorf("%d decisions are kept", decisions)
	}
}
