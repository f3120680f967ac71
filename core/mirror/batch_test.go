package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/store"
)

func TestLaw6_APoisonousEventCostsOnlyItself(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		good, poison, nul, late := person.event(t),
			about(2, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": []int{1}}).event(t),
			said{typ: event.TypeTenantCreated, id: "eN", asTyped: `{"tenant_id":"t2","name":"a\u0000b"}`}.event(t),
			about(3, event.TypeSubjectUpdated, "", data{"sub": "p1", "locale": "nb"}).event(t)
		b.apply(t, good, poison, nul, late)
		for _, ev := range []*event.Event{poison, nul} {
			if ev.Failed == "" || len(ev.Changes) > 0 || ev.Superseded {
				t.Errorf("%s: failed %q, changes %v, superseded %v", ev.ID, ev.Failed, changes(ev), ev.Superseded)
			}
		}
		if good.Failed+late.Failed != "" {
			t.Errorf("failed: %q, %q", good.Failed, late.Failed)
		}
		expect(t, b.row(t, "av_identities", "p1"), data{"email": "ines@a.example", "locale": "nb"})
		if row := b.row(t, "av_organizations", "t2"); row != nil {
			t.Errorf("the poison left a row: %v", row)
		}
	})
}

// A value that the database refuses comes back as an error that says so; the
// events of the batch can then be applied one by one.
func TestLaw6_WhatTheDatabaseRefusesIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx := context.Background()
		refuse := `ALTER TABLE av_identities ADD CHECK (locale <> 'xx')`
		if b.Dialect() == store.SQLite {
			refuse = `CREATE TRIGGER refuse BEFORE INSERT ON av_identities WHEN NEW.locale = 'xx' BEGIN SELECT RAISE(ABORT, 'no'); END`
		}
		if _, err := b.SQL(ctx).Exec(ctx, refuse); err != nil {
			t.Fatal(err)
		}
		good, bad := person.event(t), about(2, event.TypeSubjectUpdated, "", data{"sub": "p2", "locale": "xx"}).event(t)
		apply := func(events ...*event.Event) error {
			return b.InTx(ctx, func(ctx context.Context) error { return b.Apply(ctx, events) })
		}
		if err := apply(good, bad); !store.IsDataError(err) {
			t.Fatalf("the batch: %v, want a data error", err)
		}
		if err := apply(bad); !store.IsDataError(err) {
			t.Fatalf("the bad event: %v, want a data error", err)
		}
		if err := apply(good); err != nil {
			t.Fatalf("the good event: %v", err)
		}
		if len(good.Changes) != 8 || len(b.dump(ctx, t)) != 1 {
			t.Errorf("changes of the second attempt = %v, want those of one", changes(good))
		}
	})
}

// A row that somebody broke costs the events about it, and no others.
func TestLaw6_AnUnreadableRowCostsOnlyItsOwnEvents(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx := context.Background()
		b.say(t, person, about(1, event.TypeSubjectCreated, "", data{"sub": "p2"}), tenant, ownApp)
		for table, content := range map[string]string{"av_identities": `{"v":2,"clocks":[]}`, "av_organizations": "junk"} {
			if _, err := b.SQL(ctx).Exec(ctx, `UPDATE `+table+` SET sync_state = ? WHERE `+tables[table]+` IN (?, ?)`, []byte(content), "p1", "t1"); err != nil {
				t.Fatal(err)
			}
		}
		before := b.dump(ctx, t)
		lost := []*event.Event{
			about(3, event.TypeSubjectUpdated, "", data{"sub": "p1", "locale": "nb"}).event(t),
			about(3, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"}).event(t),
			told(3, event.TypeApplicationUpdated, data{"application_id": "a1", "name": "Books"}).event(t),
		}
		fine := about(3, event.TypeSubjectUpdated, "", data{"sub": "p2", "locale": "nb"}).event(t)
		b.apply(t, append(lost, fine)...)
		for _, ev := range lost {
			if !strings.Contains(ev.Failed, "sync_state") || len(ev.Changes) > 0 {
				t.Errorf("%s: failed %q, changes %v", ev.Type, ev.Failed, changes(ev))
			}
		}
		expectChanges(t, fine, `identity p2 locale null → "nb"`)
		after := b.dump(ctx, t)
		delete(before, "av_identities p2")
		delete(after, "av_identities p2")
		if diff := compare(before, after); diff != "" {
			t.Errorf("other rows changed:\n%s", diff)
		}
	})
}

func TestARowWithoutStateIsTakenOver(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx := context.Background()
		b.say(t, person)
		if _, err := b.SQL(ctx).Exec(ctx, `UPDATE av_identities SET sync_state = NULL, locale = 'by hand'`); err != nil {
			t.Fatal(err)
		}
		b.say(t, about(2, event.TypeSubjectUpdated, "", data{"sub": "p1", "email": "x@a.example"}))
		expect(t, b.row(t, "av_identities", "p1"), data{"email": "x@a.example", "locale": nil, "given_name": nil})
	})
}

// One batch may hold everything about an entity.
func TestEventsOfOneBatchSeeEachOther(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		events := []*event.Event{
			tenant.event(t), ownApp.event(t),
			about(4, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"}).event(t),
			told(5, event.TypeApplicationUpdated, data{"application_id": "a1", "name": "Books"}).event(t),
			about(6, event.TypeTenantCreated, "t1", data{"tenant_id": "t1", "name": "Again"}).event(t),
			about(7, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"}).event(t),
		}
		b.apply(t, events...)
		expectChanges(t, events[3], `application a1 exists false → true`, `application a1 organization_id null → "t1"`,
			`application a1 name null → "Books"`, `application a1 is_active null → true`)
		last := changes(events[5])
		if got := last[len(last)-1]; got != `application a1 exists true → false` {
			t.Errorf("the second deletion of the tenant ends with %q", got)
		}
		for key := range b.dump(context.Background(), t) {
			if !strings.HasPrefix(key, "avhub_mirror_graves ") {
				t.Errorf("%s is left", key)
			}
		}
	})
}

// The application's row says that it belongs to the tenant although that word is
// from before the tenant's deletion; so the next deletion finds it.
func TestLaw3_ALaterDeletionFindsAChildThatOutlivedTheFirst(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		b.say(t, ownApp,
			about(3, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"}),
			told(4, event.TypeApplicationUpdated, data{"application_id": "a1", "tenant_id": nil, "name": "Books"}))
		expect(t, b.row(t, "av_applications", "a1"), data{"name": "Books", "organization_id": "t1", "client_id": nil})
		ev := b.say(t, about(5, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"}))
		expectChanges(t, ev, `application a1 exists true → false`)
		if row := b.row(t, "av_applications", "a1"); row != nil {
			t.Errorf("it is still there: %v", row)
		}
	})
}

func TestChangesOfOneEventAreBounded(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		const n = 600
		events := []*event.Event{about(1, event.TypeTenantCreated, "t1", data{"tenant_id": "t1", "name": "Fjord"}).event(t)}
		for i := range n {
			events = append(events, about(1, event.TypeApplicationCreated, "t1", data{"application_id": fmt.Sprintf("app-%d", i)}).event(t))
		}
		b.apply(t, events...)
		ev := b.say(t, about(2, event.TypeTenantDeleted, "t1", data{"tenant_id": "t1"}))
		// The tenant: exists, name, slug, plan, status.
		if len(ev.Changes) != 500 || ev.ChangesOmitted != n+5-500 {
			t.Errorf("%d changes and %d omitted, want 500 and %d", len(ev.Changes), ev.ChangesOmitted, n+5-500)
		}
		if got := changes(ev)[0]; got != `organization t1 exists true → false` {
			t.Errorf("the first change is %q, want the tenant's own", got)
		}
		if left := len(b.dump(context.Background(), t)); left != n+1 {
			t.Errorf("%d rows and graves, want a grave for each", left)
		}
	})
}

// A batch that fails leaves the events as if they were never applied, and the
// second attempt says the same as a first.
func TestApplyingAgainAfterARollback(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ev := person.event(t)
		failed := errors.New("the disk is full")
		err := b.InTx(context.Background(), func(ctx context.Context) error {
			if err := b.Apply(ctx, []*event.Event{ev}); err != nil {
				return err
			}
			return failed
		})
		if !errors.Is(err, failed) {
			t.Fatal(err)
		}
		first := strings.Join(changes(ev), "\n")
		ev.Superseded, ev.Failed, ev.ChangesOmitted = true, "before", 3
		b.apply(t, ev)
		if again := strings.Join(changes(ev), "\n"); again != first || ev.Superseded || ev.Failed != "" || ev.ChangesOmitted != 0 {
			t.Errorf("the second attempt says %s (superseded %v, failed %q)\nthe first said %s", again, ev.Superseded, ev.Failed, first)
		}
	})
}
