package backfill_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/backfill"
	"github.com/avhub/avhub/core/mirror/backfill/integration"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/storetest"
)

// object is a JSON object.
type object = map[string]any

type options = backfill.Options

// provider is an AuthVital with an integration API, whose answers tests change.
type provider struct {
	*httptest.Server
	mu      sync.Mutex
	tenants map[string][]object // members by tenant
	apps    map[string][]object // by client id
	trouble map[string]int      // units that answer with this status instead
	asked   []string            // units, in the order in which they were asked for
	refuse  bool                // all credentials
	total   int                 // added to totalCount
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{tenants: map[string][]object{}, apps: map[string][]object{}, trouble: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		if p.refuse {
			answer(w, 401, object{"message": "no such client"})
			return
		}
		answer(w, 200, object{"access_token": "token-for-members", "token_type": "Bearer", "expires_in": 600})
	})
	mux.HandleFunc("GET /api/integration/tenant-memberships", func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("tenantId")
		p.answer(w, "tenant/"+id, p.tenants, id, object{"tenantId": id, "tenantName": "Name of " + id, "tenantSlug": id + "-slug"})
	})
	mux.HandleFunc("GET /api/integration/application-memberships", func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("clientId")
		p.answer(w, "application/"+id, p.apps, id, object{"applicationId": "app_" + id, "applicationName": "App " + id, "clientId": id})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (p *provider) answer(w http.ResponseWriter, unit string, all map[string][]object, id string, head object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, unit)
	members, known := all[id]
	switch status := p.trouble[unit]; {
	case status != 0:
		answer(w, status, object{"message": "trouble"})
	case !known:
		answer(w, 404, object{"message": "unknown"})
	default:
		// In the order in which the real one sends it: the members before the count.
		text, err := json.Marshal(head)
		if err != nil {
			panic(err)
		}
		list, err := json.Marshal(members)
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `%s,"memberships":%s,"totalCount":%d}`, strings.TrimSuffix(string(text), "}"), list, len(members)+p.total)
	}
}

// units forgets and returns what was asked for.
func (p *provider) units() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

func user(person string) object {
	return object{"id": person, "email": person + "@a.example", "givenName": "Given " + person, "familyName": nil}
}

// inTenant is a member as the answer about a tenant has it.
func inTenant(id, person, status string, roles ...object) object {
	return object{"id": id, "status": status, "joinedAt": "2025-02-03T04:05:06.000Z", "createdAt": "2025-02-03T04:05:06.000Z", "user": user(person), "roles": roles}
}

// inApp is the same in the answer about an application.
func inApp(id, person, tenant, role string) object {
	return object{
		"id": id, "status": "ACTIVE", "joinedAt": "2025-02-03T04:05:06.000Z", "user": user(person),
		"tenant": object{"id": tenant, "name": "Name of " + tenant, "slug": tenant + "-slug"}, "roles": []object{{"id": "r_" + role, "name": role, "slug": role}},
	}
}

func tenantRole(slug string) object { return object{"id": "tr_" + slug, "name": slug, "slug": slug} }

func appRole(client, slug string) object {
	return object{"id": "r_" + slug, "name": slug, "slug": slug, "applicationId": "app_" + client, "applicationName": "App " + client}
}

// small fills the provider with two tenants and an application, and a member of
// every status.
func (p *provider) small() {
	p.apps["web"] = []object{inApp("m1", "p1", "t1", "editor"), inApp("m4", "p1", "t2", "viewer")}
	p.tenants["t1"] = []object{
		inTenant("m1", "p1", "ACTIVE", tenantRole("owner"), appRole("web", "editor")),
		inTenant("m2", "p2", "suspended", tenantRole("member")),
		{"id": "m3", "status": "INVITED", "user": nil}, // who has no account yet
		inTenant("m5", "p5", "DREAMING"),
		{"id": "m6", "status": "ACTIVE", "user": object{"id": 7}},
		inTenant("m2", "p2", "ACTIVE"),
	}
	p.tenants["t2"] = []object{inTenant("m4", "p1", "Active", appRole("web", "viewer"))}
}

// bench is a database with a mirror in it, beside a provider.
type bench struct {
	*provider
	*store.Store
	*mirror.Mirror
	now time.Time
}

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func newBench(t testing.TB, url string) *bench {
	t.Helper()
	st := storetest.Open(t, url)
	b := &bench{provider: newProvider(t), Store: st, now: start}
	b.Mirror = mirror.New(st, mirror.Options{})
	return b
}

func onEach(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, url string) { test(t, newBench(t, url)) })
}

// options read all of the provider.
func (b *bench) options() backfill.Options {
	source := config.Source{Name: "authvital", Host: b.URL, API: config.API{ClientID: "id", ClientSecret: "secret", Clients: []string{"web"}}}
	return backfill.Options{
		Source: source, Store: b.Store, Mirror: b.Mirror, Now: func() time.Time { return b.now },
		Client: integration.New(integration.Options{
			BaseURL: b.URL, ClientID: "id", ClientSecret: "secret",
			Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		}),
	}
}

// run runs a backfill, a second later than anything before.
func (b *bench) run(t testing.TB, change func(*backfill.Options)) backfill.Summary {
	t.Helper()
	sum, err := b.try(t, change)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func (b *bench) try(t testing.TB, change func(*backfill.Options)) (backfill.Summary, error) {
	t.Helper()
	b.now = b.now.Add(time.Second)
	o := b.options()
	if change != nil {
		change(&o)
	}
	return backfill.Run(t.Context(), o)
}

func (b *bench) verify(t testing.TB) backfill.Comparison {
	t.Helper()
	c, err := backfill.Verify(t.Context(), b.options())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tables are those that a backfill writes, and their keys.
var tables = map[string]string{
	"av_identities": "sub", "av_organizations": "tenant_id", "av_applications": "application_id",
	"av_memberships": "membership_id", "av_app_access": "id", "avhub_mirror_graves": "id", "avhub_backfill_facts": "key",
}

// dump is the content of these tables, but for when it was written. times also
// leaves out when it was read.
func (b *bench) dump(t testing.TB, times bool) string {
	t.Helper()
	var lines []string
	for table := range tables {
		err := b.ReadSQL().Query(context.Background(), func(rows *sql.Rows) error {
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				return err
			}
			line := table
			for i, name := range columns {
				if name == "synced_at" || table == "avhub_backfill_facts" && name == "id" ||
					times && (name == "created_at" || name == "updated_at" || name == "sync_state" || name == "read_at") {
					continue
				}
				v := values[i]
				if raw, ok := v.([]byte); ok {
					v = string(raw)
				}
				line += fmt.Sprintf(" %s=%v", name, v)
			}
			lines = append(lines, line)
			return nil
		}, "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// counts is what a summary says of rows, as text.
func counts(sum backfill.Summary) string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(sum.Rows)) {
		n := sum.Rows[kind]
		all = append(all, fmt.Sprintf("%s %d/%d/%d", kind, n.Created, n.Changed, n.Unchanged))
	}
	return strings.Join(all, ", ")
}
