package mirror_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
)

// More children than are looked at at a time, of every kind, and a neighbour
// whose children stay.
func TestLaw3_ADeletedTenantTakesThousandsOfChildrenAlong(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		const members, others = 2100, 120
		b.SweepBy(1050) // the last look finds nothing
		var all []said
		for _, tenant := range []string{"t1", "t2"} {
			n, o := members, others
			if tenant == "t2" {
				n, o = 3, 3
			}
			for i := range n {
				all = append(all, about(1, event.TypeMemberSuspended, tenant, data{"membership_id": fmt.Sprintf("%s-m%d", tenant, i), "sub": "p"}))
			}
			for i := range o {
				id := fmt.Sprintf("%s-%d", tenant, i)
				all = append(all,
					about(1, event.TypeAppAccessRevoked, tenant, data{"sub": id}).in("a1"),
					about(1, event.TypeLicenseRevoked, tenant, data{"assignment_id": id, "sub": id}),
					about(1, event.TypeInviteExpired, tenant, data{"invite_id": id}),
					about(1, event.TypeTenantAppGranted, tenant, data{"subscription_id": id}).in("a1"),
					about(1, event.TypeApplicationCreated, tenant, data{"application_id": id}),
					about(1, event.TypeSSOProviderAdded, tenant, data{"provider_id": id}))
			}
		}
		for part := range slices.Chunk(all, 500) {
			var events []*event.Event
			for _, s := range part {
				events = append(events, s.event(t))
			}
			b.apply(t, events...)
		}
		ev := b.say(t, about(2, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"}))
		if told := len(ev.Changes) + ev.ChangesOmitted; told != members+6*others {
			t.Errorf("%d changes are told or omitted, want one for each of %d children", told, members+6*others)
		}
		left := map[string]int{}
		for key, row := range b.dump(context.Background(), t) {
			table, id, _ := strings.Cut(key, " ")
			if table != "avhub_mirror_graves" {
				left[table]++
				if row["organization_id"] != "t2" {
					t.Errorf("%s %s is left", table, id)
				}
			}
		}
		for table := range kinds {
			if want := 3; table != "av_identities" && table != "av_organizations" && left[table] != want {
				t.Errorf("%d rows of the other tenant are left in %s, want %d", left[table], table, want)
			}
		}
	})
}

// A license belongs to a tenant and to a person. When both are deleted in one
// batch, and the license has something newer to show than either, what each
// deletion took of it is told once, with that deletion.
func TestLaw3_AChildOfTwoDeletedParentsIsToldOfOnce(t *testing.T) {
	type life struct {
		name   string
		before []said
		tenant []string
		person []string
	}
	outlives := []said{
		seat, // at 1: everything
		about(5, event.TypeLicenseChanged, "t1", data{"assignment_id": "l", "sub": "p1", "license_type_name": "Lead"}).in("a1"),
		about(8, event.TypeLicenseChanged, "t1", data{"assignment_id": "l", "sub": "p1"}),
	}
	onEach(t, func(t *testing.T, b bench) {
		for _, l := range []life{
			{"one that is gone with the first", []said{seat}, []string{`license l exists true → false`}, nil},
			{
				"one that outlives both", outlives,
				[]string{`license l license_type_id "lt1" → null`}, []string{`license l application_id "a1" → null`, `license l license_type_name "Lead" → null`},
			},
		} {
			for _, touched := range []bool{false, true} {
				b.empty(t)
				b.say(t, l.before...)
				tenantGone := about(4, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"}).event(t)
				personGone := about(6, event.TypeSubjectDeleted, "", data{"sub": "p1"}).event(t)
				batch := []*event.Event{tenantGone, personGone}
				if touched { // then the batch knows the license itself
					batch = slices.Insert(batch, 0, about(0, event.TypeLicenseChanged, "t1", data{"assignment_id": "l", "sub": "p1"}).event(t))
				}
				b.apply(t, batch...)
				t.Run(fmt.Sprintf("%s, touched %v", l.name, touched), func(t *testing.T) {
					expectChanges(t, tenantGone, slices.Clone(l.tenant)...)
					expectChanges(t, personGone, slices.Clone(l.person)...)
				})
			}
		}
	})
}

// A child that changes its tenant in the batch in which the old one, the new
// one, or both are deleted.
func TestLaw3_AChildMovesWhileItsTenantsFall(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		move := about(5, event.TypeApplicationUpdated, "t2", data{"application_id": "a1", "tenant_id": "t2", "name": "Books", "changed_fields": []string{"name"}})
		gone := func(second int, tenant string) said {
			return about(second, event.TypeTenantDeleted, tenant, data{"tenant_id": tenant})
		}
		for _, c := range []struct {
			name  string
			batch []said
			lives bool
		}{
			{"the old tenant falls before the move is heard of", []said{gone(6, "t1"), move}, true},
			{"the old tenant falls after it", []said{move, gone(6, "t1")}, true},
			{"the new tenant falls before the move is heard of", []said{gone(6, "t2"), move}, false},
			{"the new tenant falls after it", []said{move, gone(6, "t2")}, false},
			{"the new tenant fell before the move happened", []said{gone(4, "t2"), move}, true},
			{"both fall", []said{gone(6, "t1"), move, gone(7, "t2")}, false},
		} {
			b.empty(t)
			b.say(t, ownApp)
			var events []*event.Event
			for _, s := range c.batch {
				events = append(events, s.event(t))
			}
			b.apply(t, events...)
			together := b.dump(context.Background(), t)
			b.empty(t)
			b.say(t, append([]said{ownApp}, c.batch...)...)
			if diff := compare(b.dump(context.Background(), t), together); diff != "" {
				t.Errorf("%s: a batch ends elsewhere than single events:\n%s", c.name, diff)
			}
			if row := b.row(t, "av_applications", "a1"); (row != nil) != c.lives {
				t.Errorf("%s: the application's row is %v", c.name, row)
			}
		}
	})
}

// A child that somebody broke is left as it is, and costs its neighbours
// nothing.
func TestLaw6_AnUnreadableChildHoldsUpNoDeletion(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx := context.Background()
		b.say(t, tenant, seat, member)
		if _, err := b.SQL(ctx).Exec(ctx, `UPDATE av_licenses SET sync_state = ?`, []byte("junk")); err != nil {
			t.Fatal(err)
		}
		ev := b.say(t, about(4, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"}))
		if got := changes(ev); !slices.Contains(got, `membership m exists true → false`) || ev.Failed != "" {
			t.Errorf("failed %q, changes %v", ev.Failed, got)
		}
		if b.row(t, "av_licenses", "l") == nil {
			t.Error("the broken row is gone; nobody can tell any more what it was")
		}
	})
}

// The person comes back with nothing of what was given before.
func TestLaw3_APersonWhoComesBackHasNothingOfThePast(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		b.say(t, person, member, grant, seat,
			about(4, event.TypeSubjectDeleted, "", data{"sub": "p1"}),
			about(5, event.TypeSubjectCreated, "t1", data{"sub": "p1"}))
		for table, id := range map[string]string{"av_memberships": "m", "av_app_access": "p1/a1/t1", "av_licenses": "l"} {
			if row := b.row(t, table, id); row != nil {
				t.Errorf("%s %s is back: %v", table, id, row)
			}
		}
		b.say(t, about(6, event.TypeAppAccessGranted, "t1", data{"sub": "p1"}).in("a1"))
		expect(t, b.row(t, "av_app_access", "p1/a1/t1"), data{"has_access": true, "role_slug": nil})
	})
}
