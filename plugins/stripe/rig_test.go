package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/avhub/avhub/plugins/stripe/stripefake"
	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

const testKey = "sk_test_canaryOfTheTests"

// rig is a hub with one plugin, this one, and a simulated Stripe. Every request
// that reaches that is shown to Stripe's own mock, too, which knows every name,
// type and enumeration of the API.
type rig struct {
	t      *testing.T
	fake   *stripefake.Server
	url    string
	cfg    map[string]any
	client pluginpb.ConnectorClient
	logs   *lockedBuffer
	stop   func()
	wide   *connector

	// now is what the connector takes for the time, and via what its requests go
	// through; nil: nothing.
	now func() time.Time
	via func(http.RoundTripper) http.RoundTripper

	states   map[string][]byte
	position int64
	again    int // answers AGAIN so far
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// sortiment are the prices that tests sell.
func sortiment() []stripefake.Price {
	return []stripefake.Price{
		{ID: "price_pro", LookupKey: "pro", Amount: 4900}, {ID: "price_enterprise", LookupKey: "enterprise", Amount: 19900},
		{ID: "price_starter", LookupKey: "starter", Amount: 900}, {ID: "price_seat", LookupKey: "seat", Amount: 500},
		{ID: "price_zero", LookupKey: "zero", Amount: 0}, {ID: "price_lic_pro", LookupKey: "lic_pro", Amount: 1200},
		{ID: "price_lic_basic", LookupKey: "lic_basic", Amount: 600}, {ID: "price_other", LookupKey: "other", Amount: 7700},
	}
}

// someConfig sells plans with seats.
func someConfig() map[string]any {
	return map[string]any{
		"api_key": testKey, "coalesce": "0s", "requests_per_second": 5000, "drift": map[string]any{"every": "0s"},
		"plans": map[string]any{
			"starter":    map[string]any{"lookup_key": "starter"},
			"pro":        map[string]any{"lookup_key": "pro", "seat_lookup_key": "seat"},
			"enterprise": map[string]any{"price": "price_enterprise", "seat_lookup_key": "seat", "min_seats": 10},
		},
	}
}

// newRig makes one; change may change the configuration and the fake's options.
func newRig(t *testing.T, change func(cfg map[string]any, opts *stripefake.Options)) *rig {
	t.Helper()
	cfg := someConfig()
	opts := stripefake.Options{Prices: sortiment(), Start: time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC), SearchLag: time.Minute}
	if change != nil {
		change(cfg, &opts)
	}
	r := &rig{t: t, fake: stripefake.New(opts), cfg: cfg, states: map[string][]byte{}}
	r.now = r.fake.Now
	server := httptest.NewServer(witnessed(t, r.fake))
	t.Cleanup(server.Close)
	r.url = server.URL
	cfg["api_url"] = server.URL
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

// start begins a life of the connector, in this process, with the fake's clock.
func (r *rig) start() {
	r.t.Helper()
	lis := bufconn.Listen(1 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	p := connectorPlugin()
	p.Open = func(_ context.Context, cfg config, log *slog.Logger) (plugin.Connector[state], error) {
		r.wide = newConnector(cfg, log, r.now)
		if r.via != nil {
			r.wide.api.client.Transport = r.via(r.wide.api.client.Transport)
		}
		return r.wide, nil
	}
	r.logs = &lockedBuffer{}
	done := make(chan error, 1)
	go func() { done <- p.ServeListener(ctx, lis, r.logs) }()
	conn, err := grpc.NewClient("passthrough:///stripe", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		r.t.Fatal(err)
	}
	r.client = pluginpb.NewConnectorClient(conn)
	r.stop = sync.OnceFunc(func() {
		_ = conn.Close()
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("the connector ended: %v", err)
		}
	})
	if diags := r.configure(); diags != "" {
		r.t.Fatal(diags)
	}
}

func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.start()
}

// configure gives the connector its configuration and returns what it says.
func (r *rig) configure() string {
	r.t.Helper()
	resp, err := r.client.Configure(r.t.Context(), &pluginpb.ConfigureRequest{Config: asJSON(r.t, r.cfg)})
	if err != nil {
		r.t.Fatal(err)
	}
	var lines []string
	for _, d := range resp.GetDiagnostics() {
		lines = append(lines, d.GetPath()+": "+d.GetSummary()+"; "+d.GetDetail())
	}
	return strings.Join(lines, "\n")
}

func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// company is a tenant as the mirror has it.
func (r *rig) company(id string) plugin.Organization {
	return plugin.Organization{TenantID: id, Name: "Acme " + id, Slug: "acme-" + id, Plan: "free", Status: "active",
		OwnerEmail: id + "@example.com", CreatedAt: r.now(), UpdatedAt: r.now()}
}

// seats gives out n licenses.
func seats(org *plugin.Organization, n int64) {
	org.Licenses = []plugin.LicenseCount{{ApplicationID: "app_1", LicenseTypeID: "lt_pro", LicenseTypeName: "Pro", Count: n}}
}

// event is one about a tenant as it stands; org is nil when there is no row.
func (r *rig) event(typ, tenant string, org *plugin.Organization) *pluginpb.Event {
	r.position++
	at := r.now().UnixMicro() + r.position
	e := &pluginpb.Entity{Kind: "organization", Id: tenant}
	if org != nil {
		now := *org
		now.UpdatedAt = time.UnixMicro(at).UTC()
		e.Json = asJSON(r.t, now)
	}
	return &pluginpb.Event{
		Id: fmt.Sprintf("evt_%d", r.position), Type: typ, Key: "tenant:" + tenant, Position: r.position, Revision: at, OccurredAtUs: at,
		Source: "authvital", Subject: "organization:" + tenant, TenantId: tenant, Attempt: 1, Data: []byte(`{}`), Entities: []*pluginpb.Entity{e},
	}
}

// deliver delivers an event until it is not answered AGAIN.
func (r *rig) deliver(ev *pluginpb.Event) *pluginpb.Verdict {
	r.t.Helper()
	for range 20 {
		v, err := r.once(r.client, ev)
		if err != nil {
			r.t.Fatal(err)
		}
		if v.GetKind() != pluginpb.Verdict_KIND_AGAIN {
			return v
		}
		r.again++
	}
	r.t.Fatal("answered AGAIN over and over")
	return nil
}

// once makes one call, and keeps the state as a hub does.
func (r *rig) once(client pluginpb.ConnectorClient, ev *pluginpb.Event) (*pluginpb.Verdict, error) {
	req := &pluginpb.DeliverRequest{Events: []*pluginpb.Event{ev}, States: map[string][]byte{}}
	if s := r.states[ev.GetKey()]; s != nil {
		req.States[ev.GetKey()] = s
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	resp, err := client.Deliver(ctx, req)
	if err != nil {
		return nil, err
	}
	for k, s := range resp.GetStates() {
		if r.states[k] = s; len(s) == 0 {
			delete(r.states, k)
		}
	}
	return resp.GetVerdicts()[0], nil
}

// tell delivers tenant.updated, and wants it applied or skipped.
func (r *rig) tell(org plugin.Organization) *pluginpb.Verdict {
	r.t.Helper()
	return r.settled(r.deliver(r.event("tenant.updated", org.TenantID, &org)))
}

func (r *rig) settled(v *pluginpb.Verdict) *pluginpb.Verdict {
	r.t.Helper()
	if k := v.GetKind(); k != pluginpb.Verdict_KIND_APPLIED && k != pluginpb.Verdict_KIND_SKIPPED {
		r.t.Fatalf("answered %v: %s\n%s", k, v.GetReason(), r.logs)
	}
	return v
}

func (r *rig) want(v *pluginpb.Verdict, kind pluginpb.Verdict_Kind, words ...string) {
	r.t.Helper()
	if v.GetKind() != kind {
		r.t.Fatalf("answered %v (%s), want %v", v.GetKind(), v.GetReason(), kind)
	}
	for _, w := range words {
		if !strings.Contains(v.GetReason(), w) {
			r.t.Errorf("the reason %q does not say %q", v.GetReason(), w)
		}
	}
}

// state is what is remembered for a tenant.
func (r *rig) state(tenant string) state {
	r.t.Helper()
	var st state
	if raw := r.states["tenant:"+tenant]; raw != nil {
		if err := json.Unmarshal(raw, &st); err != nil {
			r.t.Fatal(err)
		}
	}
	return st
}

// sub is the one subscription of a tenant that runs; the test fails if there is
// another number of them.
func (r *rig) sub(tenant string) stripefake.Subscription {
	r.t.Helper()
	var found []stripefake.Subscription
	for _, s := range r.fake.Subscriptions() {
		if s.Metadata["avhub_tenant"] == tenant && !s.Ended() {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		r.t.Fatalf("%s has %d subscriptions that run: %+v", tenant, len(found), found)
	}
	return found[0]
}

// customers are those of a tenant that are not deleted.
func (r *rig) customers(tenant string) []stripefake.Customer {
	return slices.DeleteFunc(r.fake.Customers(), func(c stripefake.Customer) bool { return c.Deleted || c.Metadata["avhub_tenant"] != tenant })
}

// requests are the operations since the n-th request.
func (r *rig) requests(from int) []string {
	var out []string
	for _, req := range r.fake.Requests()[from:] {
		out = append(out, req.Operation())
	}
	return out
}

// writes counts the requests since the n-th one that changed something.
func (r *rig) writes(from int) int {
	n := 0
	for _, req := range r.fake.Requests()[from:] {
		if req.Changed {
			n++
		}
	}
	return n
}

func (r *rig) mark() int { return len(r.fake.Requests()) }

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	g, w := asJSON(t, got), asJSON(t, want)
	if string(g) != string(w) {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

// with is a configuration with some members changed.
func with(cfg map[string]any, set map[string]any) map[string]any {
	out := maps.Clone(cfg)
	maps.Copy(out, set)
	return out
}

// witnessed shows every request to Stripe's mock before it is answered.
func witnessed(t testing.TB, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		showMock(t, req, body)
		req.Body = io.NopCloser(strings.NewReader(string(body)))
		next.ServeHTTP(w, req)
	})
}

// serve serves a fake of its own and returns its address.
func serve(t testing.TB, fake *stripefake.Server) string {
	t.Helper()
	server := httptest.NewServer(witnessed(t, fake))
	t.Cleanup(server.Close)
	return server.URL
}

func fetch(t testing.TB, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
