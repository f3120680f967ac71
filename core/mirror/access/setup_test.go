package access_test

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/access"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/internal/storetest"
)

// world is a database with helpers that put rows into it.
type world struct {
	*store.Store
	t testing.TB
}

// each runs a test on an empty, migrated database of each kind.
func each(t *testing.T, test func(t *testing.T, w world, url string)) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) { test(t, world{storetest.Open(t, url), t}, url) })
}

func (w world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w world) person(sub string, active bool) {
	w.t.Helper()
	w.must(w.Ent(w.t.Context()).Identity.Create().SetID(sub).SetIsActive(active).
		SetCreatedAt(store.Now()).SetUpdatedAt(store.Now()).SetSyncedAt(store.Now()).Exec(w.t.Context()))
}

func (w world) tenant(id, status string) *ent.OrganizationCreate {
	w.t.Helper()
	return w.Ent(w.t.Context()).Organization.Create().SetID(id).SetSlug("slug-" + id).SetStatus(status).
		SetCreatedAt(store.Now()).SetUpdatedAt(store.Now()).SetSyncedAt(store.Now())
}

func (w world) member(sub, tenant, status string) string {
	w.t.Helper()
	id := fmt.Sprintf("m-%s-%s-%s", sub, tenant, status)
	w.must(w.Ent(w.t.Context()).Membership.Create().SetID(id).SetIdentityID(sub).SetOrganizationID(tenant).SetStatus(status).
		SetCreatedAt(store.Now()).SetUpdatedAt(store.Now()).SetSyncedAt(store.Now()).Exec(w.t.Context()))
	return id
}

// access gives a person access as the mirror would; without a tenant if it is
// empty.
func (w world) access(sub, app, tenant string, has bool, role string) {
	w.t.Helper()
	create := w.Ent(w.t.Context()).AppAccess.Create().
		SetID(url.PathEscape(sub) + "/" + url.PathEscape(app) + "/" + url.PathEscape(tenant)).
		SetIdentityID(sub).SetApplicationID(app).SetHasAccess(has).SetRoleSlug(role).
		SetCreatedAt(store.Now()).SetUpdatedAt(store.Now()).SetSyncedAt(store.Now())
	if tenant != "" {
		create.SetOrganizationID(tenant)
	}
	w.must(create.Exec(w.t.Context()))
}

// hub is a journal with its mirror and a checker beside it, whose clock stands
// still.
type hub struct {
	*access.Checker
	journal *journal.Journal
	clock   *clock
}

type clock struct{ now atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.now.Store(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.now.Load()) }
func (c *clock) advance(d time.Duration) { c.now.Add(int64(d)) }

func newHub(t testing.TB, st *store.Store, opts ...mirror.Options) *hub {
	t.Helper()
	h := &hub{clock: newClock()}
	h.Checker = access.New(st, access.Options{Now: h.clock.Now})
	h.journal = journal.New(st, mirror.New(st, append(opts, mirror.Options{})[0]), journal.Options{Observer: h.Checker})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { h.journal.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return h
}

var sequence atomic.Int64

// send journals an event that is newer than all before.
func (h *hub) send(t testing.TB, typ, tenant, application, data string) {
	t.Helper()
	n := sequence.Add(1)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second)
	body := fmt.Sprintf(`{"id":"evt_%d","type":%q,"timestamp":%q,"tenant_id":%q,"application_id":%q,"data":%s}`,
		n, typ, at.Format(time.RFC3339Nano), tenant, application, data)
	ev, err := event.DecodeWebhook([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	ev.Source, ev.ReceivedAt = "test", store.Now()
	ev.Evidence = event.Evidence{KeyID: "k", Body: []byte(body)}
	if _, err := h.journal.Append(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	if ev.Failed != "" {
		t.Fatalf("%s failed: %s", typ, ev.Failed)
	}
}

func reasonOf(t testing.TB, c *access.Checker, sub, app string) access.Reason {
	t.Helper()
	d, err := c.Check(t.Context(), sub, app)
	if err != nil {
		t.Fatal(err)
	}
	if d.Allowed != (d.Reason == access.Allowed) {
		t.Fatalf("it contradicts itself: %+v", d)
	}
	return d.Reason
}

func reasonIn(t testing.TB, c *access.Checker, sub, app, tenant string) access.Reason {
	t.Helper()
	d, err := c.CheckIn(t.Context(), sub, app, tenant)
	if err != nil {
		t.Fatal(err)
	}
	if d.Allowed != (d.Reason == access.Allowed) {
		t.Fatalf("it contradicts itself: %+v", d)
	}
	return d.Reason
}
