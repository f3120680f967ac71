package mirror_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"pgregory.net/rapid"
)

// readAt is when facts are read: after all events of the histories.
var readAt = start.Add(24 * time.Hour).Unix()

// factAbout is a fact about p1 in t1, who uses a1.
func factAbout(change func(*mirror.Fact)) mirror.Fact {
	f := mirror.Fact{
		Key: "authvital/tenant/t1/m1", ReadAt: readAt,
		Tenant:     mirror.FactTenant{ID: "t1", Name: "Fjord", Slug: "fjord"},
		Membership: mirror.FactMembership{ID: "m1", Status: mirror.MembershipActive, Roles: []string{"owner"}, Since: start.Add(-100 * time.Hour)},
		Person:     mirror.FactPerson{ID: "p1", Email: "ines@fact.example", GivenName: "Ines"},
		Access:     []mirror.FactAccess{{ApplicationID: "a1", ApplicationName: "Ledger", ClientID: "c1", RoleID: "r1", RoleSlug: "editor"}},
	}
	if change != nil {
		change(&f)
	}
	return f
}

func (b bench) fill(t testing.TB, facts ...mirror.Fact) []mirror.FactOutcome {
	t.Helper()
	var outcomes []mirror.FactOutcome
	err := b.InTx(context.Background(), func(ctx context.Context) (err error) {
		if err := b.TakeTurn(ctx); err != nil {
			return err
		}
		outcomes, err = b.Fill(ctx, slices.Clone(facts))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

func TestAFactFillsEveryTableThatItTellsOf(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		read := time.Unix(readAt, 0).UTC().Format(time.RFC3339Nano)
		got := b.fill(t, factAbout(nil))
		if got[0].Known || got[0].Refused != nil || len(got[0].About) != 5 {
			t.Fatalf("%+v", got[0])
		}
		expect(t, b.row(t, "av_organizations", "t1"), data{"name": "Fjord", "slug": "fjord", "status": "active", "created_at": read, "updated_at": read})
		expect(t, b.row(t, "av_identities", "p1"), data{
			"email": "ines@fact.example", "given_name": "Ines", "family_name": nil, "tenant_id": "t1", "app_role": "editor",
			"has_app_access": true, "is_active": true, "created_at": read,
		})
		expect(t, b.row(t, "av_memberships", "m1"), data{
			"identity_id": "p1", "organization_id": "t1", "status": "active", "updated_at": read,
			"created_at": start.Add(-100 * time.Hour).Format(time.RFC3339Nano),
		})
		expect(t, b.row(t, "av_app_access", "p1/a1/t1"), data{"has_access": true, "role_id": "r1", "role_slug": "editor", "role_name": nil, "organization_id": "t1"})
		expect(t, b.row(t, "av_applications", "a1"), data{"name": "Ledger", "client_id": "c1", "organization_id": nil})
	})
}

func TestAFactThatIsKnownIsNeitherKeptNorAppliedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx := context.Background()
		b.fill(t, factAbout(nil))
		before := b.dump(ctx, t)
		again := factAbout(func(f *mirror.Fact) {
			f.ReadAt += 1000
			f.Access = append(f.Access, f.Access[0])[:1]
		})
		if known, err := b.Known(ctx, []mirror.Fact{again}); err != nil || !known[0] {
			t.Errorf("known: %v, %v", known, err)
		}
		got := b.fill(t, again)
		if !got[0].Known || len(got[0].Changes) > 0 || len(got[0].About) != 5 {
			t.Errorf("%+v", got[0])
		}
		if diff := compare(before, b.dump(ctx, t)); diff != "" {
			t.Error(diff)
		}
		if n, err := b.Read().BackfillFact.Query().Count(ctx); err != nil || n != 1 {
			t.Errorf("%d facts, %v", n, err)
		}
	})
}

func TestALaterFactSaysWhatIsOver(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		b.fill(t, factAbout(nil))
		// Within the same second, so that its time has to be moved on.
		b.fill(t, factAbout(func(f *mirror.Fact) {
			f.Access, f.Membership.Status, f.Membership.Roles = nil, mirror.MembershipSuspended, []string{"viewer"}
			f.Person.Email = "new@fact.example"
		}))
		expect(t, b.row(t, "av_app_access", "p1/a1/t1"), data{"has_access": false})
		expect(t, b.row(t, "av_memberships", "m1"), data{"status": "suspended"})
		expect(t, b.row(t, "av_identities", "p1"), data{"email": "new@fact.example", "has_app_access": false, "app_role": "viewer"})
		b.fill(t, factAbout(func(f *mirror.Fact) {
			f.Access, f.Membership = nil, mirror.FactMembership{ID: "m1", Status: mirror.MembershipLeft}
		}))
		expect(t, b.row(t, "av_memberships", "m1"), data{"status": "left"})
		expect(t, b.row(t, "av_identities", "p1"), data{"tenant_id": nil, "app_role": nil})
	})
}

func TestWhatAFactSaysIsPreviewedAndNotDone(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx := context.Background()
		b.fill(t, factAbout(nil))
		before := b.dump(ctx, t)
		next := factAbout(func(f *mirror.Fact) { f.Person.GivenName = "Inés" })
		told, err := b.Preview(ctx, []mirror.Fact{next})
		if err != nil {
			t.Fatal(err)
		}
		if len(told[0].Changes) != 1 || told[0].Changes[0].Field != "given_name" || string(told[0].Changes[0].After) != `"Inés"` {
			t.Errorf("%+v", told[0])
		}
		if diff := compare(before, b.dump(ctx, t)); diff != "" {
			t.Error(diff)
		}
		if done := b.fill(t, next); fmt.Sprint(done[0].Changes) != fmt.Sprint(told[0].Changes) {
			t.Errorf("done %v, told %v", done[0].Changes, told[0].Changes)
		}
	})
}

func TestAFactThatCannotBeUsedCostsOnlyItself(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		long := strings.Repeat("/", 500)
		got := b.fill(t,
			factAbout(func(f *mirror.Fact) { f.Key = "k1"; f.Person.ID = "" }),
			factAbout(func(f *mirror.Fact) { f.Key = strings.Repeat("k", 3000) }),
			factAbout(func(f *mirror.Fact) { f.Key = "k3"; f.Person.ID, f.Tenant.ID = long, long }), // each escape is three bytes
			factAbout(nil),
		)
		for i := range 3 {
			if got[i].Refused == nil {
				t.Errorf("fact %d is not refused", i)
			}
		}
		if got[3].Refused != nil || len(got[3].Changes) == 0 {
			t.Errorf("%+v", got[3])
		}
		if n, err := b.Read().BackfillFact.Query().Count(context.Background()); err != nil || n != 1 {
			t.Errorf("%d facts, %v", n, err)
		}
	})
}

// The person was known, and gone, before the fact was even read.
func TestLaw3_EventsWinOverFactsWheneverTheyHappened(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		longAgo := func(s said) said { s.at -= 1000 * time.Hour; return s }
		b.fill(t, factAbout(nil))
		b.say(t,
			longAgo(about(1, event.TypeMemberSuspended, "t1", data{"membership_id": "m1", "sub": "p1"})),
			longAgo(about(2, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "told@a.example"})),
			longAgo(about(3, event.TypeAppAccessRevoked, "t1", data{"membership_id": "m1", "sub": "p1"}).in("a1")),
		)
		for range 2 {
			expect(t, b.row(t, "av_memberships", "m1"), data{"status": "suspended"})
			expect(t, b.row(t, "av_identities", "p1"), data{"email": "told@a.example", "given_name": "Ines", "has_app_access": false})
			expect(t, b.row(t, "av_app_access", "p1/a1/t1"), data{"has_access": false})
			b.fill(t, factAbout(func(f *mirror.Fact) { f.ReadAt += 1e6; f.Person.Email = "again@fact.example" }))
		}
		b.say(t, longAgo(about(4, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"})), longAgo(about(5, event.TypeSubjectDeleted, "", data{"sub": "p1"})))
		b.fill(t, factAbout(func(f *mirror.Fact) { f.ReadAt += 2e6; f.Person.Email = "once@more.example" }))
		for table, id := range map[string]string{"av_organizations": "t1", "av_memberships": "m1", "av_app_access": "p1/a1/t1", "av_identities": "p1"} {
			if row := b.row(t, table, id); row != nil {
				t.Errorf("a fact revived %s: %v", table, row)
			}
		}
		if b.row(t, "av_applications", "a1") == nil {
			t.Error("the application went with a tenant that it does not belong to")
		}
	})
}

// The times that people see are never those of the clocks of facts.
func TestRowsThatFactsMadeShowWhenTheyWereRead(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		before, after := readAt-5000, readAt+5000
		stamp := func(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339Nano) }
		b.fill(t, factAbout(nil))
		late := about(0, event.TypeSubjectUpdated, "", data{"sub": "p1", "locale": "de"})
		late.at = time.Unix(after, 0).Sub(start)
		b.say(t, late)
		expect(t, b.row(t, "av_identities", "p1"), data{"created_at": stamp(readAt), "updated_at": stamp(after)})
		early := about(0, event.TypeSubjectUpdated, "", data{"sub": "p1", "zoneinfo": "UTC"})
		early.at = time.Unix(before, 0).Sub(start)
		b.say(t, early)
		expect(t, b.row(t, "av_identities", "p1"), data{"created_at": stamp(before), "updated_at": stamp(after)})
	})
}

// facts draws what several runs read about the small world of the histories:
// ascending in time for each key.
func facts(least, most int) *rapid.Generator[[]mirror.Fact] {
	one := func(values ...string) *rapid.Generator[string] { return rapid.SampledFrom(values) }
	each := rapid.Custom(func(t *rapid.T) mirror.Fact {
		person, tenant := one("p1", "p2").Draw(t, "sub"), one("t1", "t2").Draw(t, "tenant")
		f := mirror.Fact{
			Key:        one("s/tenant/", "s/application/").Draw(t, "unit") + tenant + "/" + person,
			Tenant:     mirror.FactTenant{ID: tenant, Name: one("", "Fact", "Fakt").Draw(t, "name"), Slug: one("", "fact").Draw(t, "slug")},
			Person:     mirror.FactPerson{ID: person, Email: one("", "f1@fact.example", "f2@fact.example").Draw(t, "email"), GivenName: one("", "Fay").Draw(t, "given")},
			Membership: mirror.FactMembership{ID: "m_" + person + tenant, Status: one("active", "suspended", "left").Draw(t, "status")},
		}
		if rapid.Bool().Draw(t, "roles told") {
			f.Membership.Roles = rapid.SliceOfN(one("owner", "viewer"), 0, 2).Draw(t, "roles")
		}
		if rapid.Bool().Draw(t, "since") {
			f.Membership.Since = start.Add(-time.Hour)
		}
		for _, app := range []string{"a1", "a2"} {
			if rapid.Bool().Draw(t, app) {
				f.Access = append(f.Access, mirror.FactAccess{ApplicationID: app, ApplicationName: one("", "Fapp").Draw(t, "app"), RoleSlug: one("", "editor", "viewer").Draw(t, "role")})
			}
		}
		return f
	})
	return rapid.Custom(func(t *rapid.T) []mirror.Fact {
		all := rapid.SliceOfN(each, least, most).Draw(t, "facts")
		at := readAt
		for i := range all {
			at += int64(rapid.IntRange(0, 2).Draw(t, "seconds"))
			all[i].ReadAt = at
		}
		return all
	})
}

// mixed applies facts in their order and events in theirs, in batches, one or the
// other as next tells: true for facts.
func (b bench) mixed(ctx context.Context, facts []mirror.Fact, events []*event.Event, next func() (fill bool, size int)) error {
	for len(facts)+len(events) > 0 {
		fill, size := next()
		if fill && len(facts) > 0 {
			n, keys := 0, map[string]bool{}
			for n < min(size, len(facts)) && !keys[facts[n].Key] { // each key once in a call
				keys[facts[n].Key] = true
				n++
			}
			if _, err := b.Fill(ctx, slices.Clone(facts[:n])); err != nil {
				return err
			}
			facts = facts[n:]
		}
		if !fill && len(events) > 0 {
			n := min(size, len(events))
			if err := b.Apply(ctx, events[:n]); err != nil {
				return err
			}
			events = events[n:]
		}
	}
	return nil
}

func TestLaw3_FactsAndEventsInAnyOrderEndInTheSameRows(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		rapid.Check(t, func(t *rapid.T) {
			options := someOptions().Draw(t, "options")
			b.Mirror = mirror.New(b.Store, options)
			events, read := histories(1, 25).Draw(t, "events"), facts(1, 12).Draw(t, "read")
			order := shuffled(t, events)
			var after, mixed map[string]map[string]any
			b.within(t, func(ctx context.Context) error {
				// First all facts, one by one, then all events.
				turn := len(read)
				err := b.mixed(ctx, read, events, func() (bool, int) { turn--; return turn >= 0, 1 })
				after = b.dump(ctx, t)
				return err
			})
			var stored []mirror.Fact
			b.within(t, func(ctx context.Context) error {
				err := b.mixed(ctx, read, order, func() (bool, int) {
					return rapid.Bool().Draw(t, "fill"), rapid.IntRange(1, 12).Draw(t, "size")
				})
				mixed = b.dump(ctx, t)
				stored = b.storedFacts(ctx, t)
				return err
			})
			if diff := compare(after, mixed); diff != "" {
				t.Fatalf("facts among events end elsewhere than facts before events:\n%s\nfacts: %+v\nhistory:\n%s", diff, read, tell(events))
			}
			// What is kept is all it takes to build the mirror anew.
			rebuilt, err := mirror.InMemoryWithFacts(events, stored, options)
			if err != nil {
				t.Fatal(err)
			}
			for ref, line := range rebuilt {
				_, state, _ := strings.Cut(line, "\n  ")
				if found := stateOf(mixed, ref); found != state {
					t.Fatalf("%v, built anew from %d facts:\n%s\nwas\n%s", ref, len(stored), state, found)
				}
			}
		})
	})
}

// stateOf finds the sync_state of an entity in a dump.
func stateOf(dump map[string]map[string]any, ref mirror.Ref) string {
	for key, row := range dump {
		table, id, _ := strings.Cut(key, " ")
		if table == "avhub_mirror_graves" && id == ref.Kind+"/"+ref.ID || id == ref.ID && kinds[table] == ref.Kind {
			return fmt.Sprint(row["sync_state"])
		}
	}
	return ""
}

// storedFacts reads all facts that are kept, in no particular order.
func (b bench) storedFacts(ctx context.Context, t interface{ Fatal(...any) }) []mirror.Fact {
	all, err := b.Ent(ctx).BackfillFact.Query().All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var facts []mirror.Fact
	for _, row := range all {
		f, err := mirror.ParseFact(row.Key, row.ReadAt, row.Fact)
		if err != nil {
			t.Fatal(err)
		}
		facts = append(facts, f)
	}
	rand.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
	return facts
}

// Facts and events end in the same rows on both databases, to the byte.
func TestLaw3_BothDatabasesEndInTheSameRowsWithFacts(t *testing.T) {
	t.Parallel()
	events, read := histories(120, 120).Example(3), facts(60, 60).Example(5)
	both := map[string]bench{"sqlite": onSQLite(t), "postgres": onPostgres(t)}
	random := rand.New(rand.NewPCG(1, 2))
	var want map[string]map[string]any
	for range 5 {
		for _, name := range slices.Sorted(maps.Keys(both)) {
			b := both[name]
			b.empty(t)
			if _, err := b.SQL(t.Context()).Exec(t.Context(), `DELETE FROM avhub_backfill_facts`); err != nil {
				t.Fatal(err)
			}
			err := b.InTx(t.Context(), func(ctx context.Context) error {
				return b.mixed(ctx, read, events, func() (bool, int) { return random.IntN(2) == 0, 1 + random.IntN(20) })
			})
			if err != nil {
				t.Fatal(err)
			}
			got := b.dump(t.Context(), t)
			if want == nil {
				want = got
			}
			if diff := compare(want, got); diff != "" {
				t.Fatalf("%s ends elsewhere:\n%s", name, diff)
			}
		}
		random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	}
}
