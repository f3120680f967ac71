package access_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/mirror/access"
	"github.com/avhub/avhub/core/store"
)

// pages is a team's own server: what passes is answered with what the context
// holds.
func pages(c *access.Checker) http.Handler {
	sub := func(r *http.Request) string { return r.Header.Get("X-Sub") }
	id := func(r *http.Request) string { return r.PathValue("tenant") }
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tenant, _ := access.TenantFrom(r.Context())
		d, _ := access.DecisionFrom(r.Context())
		fmt.Fprintf(w, "tenant=%s plan=%s role=%s", tenant.ID, tenant.Plan, d.Role())
	})
	mux := http.NewServeMux()
	mux.Handle("/id/{tenant}", c.RequireTenant(id)(page))
	mux.Handle("/slug/{tenant}", c.RequireTenant(id, access.BySlug())(page))
	mux.Handle("/app", c.RequireAccess(app, sub)(page))
	mux.Handle("/in/{tenant}", c.RequireTenant(id)(c.RequireAccessIn(app, sub, access.TenantOf)(page)))
	mux.Handle("/loose/", c.RequireAccessIn(app, sub, access.TenantOf)(page)) // no tenant in front
	mux.Handle("/sso/{tenant}", c.RequireFeature("sso", id)(page))
	mux.Handle("/own/{tenant}", c.RequireTenant(id, access.RefuseWith(func(w http.ResponseWriter, _ *http.Request, no access.Refusal) {
		http.Error(w, "own "+no.Code, no.Status)
	}))(page))
	return mux
}

func get(t *testing.T, server *httptest.Server, path, sub string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if sub != "" {
		req.Header.Set("X-Sub", sub)
	}
	req.Header.Set("Origin", "https://canary.example")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestRequestsPassOrAreToldWhyNot(t *testing.T) {
	each(t, func(t *testing.T, w world, url string) {
		w.must(w.tenant("t1", "active").SetPlan("pro").Exec(t.Context()))
		w.must(w.tenant("t2", "suspended").SetPlan("pro").Exec(t.Context()))
		w.must(w.tenant("t3", "deleted").SetPlan("pro").Exec(t.Context()))
		w.must(w.tenant("t4", "active").SetSlug("slug-t5").SetPlan("free").Exec(t.Context()))
		w.must(w.tenant("t5", "active").Exec(t.Context()))
		w.person("ann", true)
		w.person("bob", false)
		w.person("eve", true)
		w.access("ann", app, "t1", true, "admin")
		st, err := store.Open(t.Context(), url, store.Options{})
		w.must(err)
		clock := newClock()
		c := access.New(st, access.Options{Now: clock.Now, Features: map[string][]string{"pro": {"sso"}}})
		server := httptest.NewServer(pages(c))
		defer server.Close()
		for _, try := range []struct {
			path, sub string
			status    int
			want      string // the page, or the reason
		}{
			{"/id/t1", "", 200, "tenant=t1 plan=pro role="},
			{"/id/t2", "", 403, "tenant_suspended"},
			{"/id/t3", "", 404, "tenant_deleted"},
			{"/id/canary", "", 404, "unknown_tenant"},
			{"/id/%00", "", 404, "unknown_tenant"},
			{"/slug/slug-t1", "", 200, "tenant=t1 plan=pro role="},
			{"/slug/slug-t2", "", 403, "tenant_suspended"},
			{"/slug/slug-t5", "", 409, "ambiguous_tenant"},
			{"/slug/t1", "", 404, "unknown_tenant"},
			{"/app", "", 401, "no_identity"},
			{"/app", "ann", 200, "tenant= plan= role=admin"},
			{"/app", "bob", 403, "identity_deactivated"},
			{"/app", "eve", 403, "no_access"},
			{"/app", "canary", 403, "unknown_identity"},
			{"/in/t1", "ann", 200, "tenant=t1 plan=pro role=admin"},
			{"/in/t1", "", 401, "no_identity"},
			{"/in/t4", "ann", 403, "no_access"},
			{"/in/t2", "ann", 403, "tenant_suspended"},
			{"/loose/", "ann", 403, "no_access"},
			{"/sso/t1", "", 200, "tenant= plan= role="},
			{"/sso/t2", "", 403, "feature_not_in_plan"},
			{"/sso/t4", "", 403, "feature_not_in_plan"},
			{"/sso/canary", "", 403, "feature_not_in_plan"},
		} {
			resp, body := get(t, server, try.path, try.sub)
			got := body
			if try.status != 200 {
				got = reasonOfBody(t, resp, body)
			}
			if resp.StatusCode != try.status || got != try.want {
				t.Errorf("%s of %q: %d %s", try.path, try.sub, resp.StatusCode, body)
			}
			if strings.Contains(fmt.Sprint(body, resp.Header), "canary") {
				t.Errorf("%s: the answer repeats the request: %s %v", try.path, body, resp.Header)
			}
			if (resp.Header.Get("WWW-Authenticate") != "") != (resp.StatusCode == 401) {
				t.Errorf("%s: WWW-Authenticate is %q", try.path, resp.Header.Get("WWW-Authenticate"))
			}
		}
		if resp, body := get(t, server, "/own/t2", ""); resp.StatusCode != 403 || body != "own tenant_suspended\n" {
			t.Errorf("with an answer of one's own: %d %q", resp.StatusCode, body)
		}

		w.must(st.Close())
		clock.advance(time.Second)
		for _, path := range []string{"/id/t1", "/slug/slug-t1", "/app", "/in/t1", "/loose/", "/sso/t1"} {
			resp, body := get(t, server, path, "ann")
			if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || reasonOfBody(t, resp, body) != "access_unavailable" ||
				strings.Contains(body, "sql") {
				t.Errorf("%s without a database: %d %s", path, resp.StatusCode, body)
			}
		}
	})
}

func reasonOfBody(t *testing.T, resp *http.Response, body string) string {
	t.Helper()
	var answer struct{ Error, Reason string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Error == "" || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("no answer like the others: %s %q %v", resp.Header.Get("Content-Type"), body, err)
	}
	return answer.Reason
}
