package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/admin"
	"github.com/avhub/avhub/core/admin/api"
	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/ask"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/internal/mirrortest"
	"github.com/avhub/avhub/internal/storetest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// site is the API behind the admin listener's guard, as it is served.
type site struct {
	url   string
	api   *api.API
	store *store.Store
	log   *bytes.Buffer
}

func open(t *testing.T, url, token string) *site {
	t.Helper()
	s := &site{store: storetest.Open(t, url), log: &bytes.Buffer{}}
	mirrortest.Fill(t, s.store)
	s.api = api.New(ask.New(s.store), hub.Operator(s.store, journal.New(s.store, mirror.New(s.store, mirror.Options{}), journal.Options{})), zerolog.New(zerolog.SyncWriter(s.log)))
	srv := httptest.NewServer(admin.New(admin.Deps{Token: token, API: s.api, Gatherer: prometheus.NewRegistry()}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request whose path is as it is given, escapes and all.
func (s *site) do(t *testing.T, method, path string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func (s *site) get(t *testing.T, path string) answer { t.Helper(); return s.do(t, "GET", path) }

// into reads the body of a success.
func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %s %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// refused checks the house's form of an error.
func (a answer) refused(t *testing.T, status int, reason, says string) {
	t.Helper()
	var told struct{ Error, Reason string }
	if err := json.Unmarshal([]byte(a.body), &told); err != nil {
		t.Errorf("%d is not answered with JSON: %q", a.status, a.body)
	}
	if a.status != status || told.Reason != reason || told.Error == "" || !strings.Contains(told.Error, says) {
		t.Errorf("got %d %s, want %d %s with %q", a.status, a.body, status, reason, says)
	}
	if got := a.header.Get("X-Content-Type-Options"); got != "nosniff" || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Errorf("an error is sent as %s, %s", a.header.Get("Content-Type"), got)
	}
}

type listed struct {
	Data []map[string]any
	Next *string
}

func TestRowsAreFoundByTheirIDsWhateverIsInThem(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, database string) {
		s := open(t, database, "")
		now := store.Now()
		ids := []string{"..", ".", "a/b", "a%2Fb", "a b+c", "ö?#&;=", `"><script>`, "\u202e", strings.Repeat("long", 300), "%", "openapi.json"}
		for _, id := range ids {
			err := s.store.Ent(context.Background()).Organization.Create().SetID(id).SetName("it").SetCreatedAt(now).SetUpdatedAt(now).SetSyncedAt(now).
				Exec(context.Background())
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range append(ids, "t/2 ö", "t1") {
			escaped := url.PathEscape(id)
			if strings.Trim(id, ".") == "" {
				escaped = strings.ReplaceAll(id, ".", "%2E")
			}
			var row map[string]any
			s.get(t, api.Root+"organizations/"+escaped).into(t, &row)
			if row["tenant_id"] != id {
				t.Errorf("asked for %q, got %q", id, row["tenant_id"])
			}
		}
		s.get(t, api.Root+"organizations/%00").refused(t, 404, "not_found", "id")
		s.get(t, api.Root+"organizations/%FF").refused(t, 404, "not_found", "id")
		s.get(t, api.Root+"organizations/nope").refused(t, 404, "not_found", "id")
		s.get(t, api.Root+"sso-providers/t1%2Fokta").into(t, &map[string]any{})
		s.get(t, api.Root+"sso-providers/t1/okta").refused(t, 404, "not_found", "%2F")
		got := s.get(t, api.Root+"organizations?plan=free")
		if got.status != 200 || strings.Contains(got.body, "<script>") || strings.Contains(got.body, "<b>") {
			t.Errorf("markup from outside comes as such: %d %s", got.status, got.body)
		}
	})
}

func TestWhatIsWrongWithARequestIsTold(t *testing.T) {
	t.Parallel()
	s := open(t, storetest.SQLite(t), "")
	for path, c := range map[string]struct {
		status       int
		reason, says string
	}{
		"organizations?colour=red":                   {400, "unknown_parameter", "limit, cursor, plan, status, slug, owner"},
		"organizations?with=apps":                    {400, "unknown_parameter", "cursor"},
		"organizations?status=asleep":                {400, "bad_value", "active, suspended, deleted"},
		"organizations?plan=pro&plan=free":           {400, "bad_value", "more than once"},
		"organizations?plan=":                        {400, "bad_value", "empty"},
		"organizations?plan":                         {400, "bad_value", "empty"},
		"organizations?plan=%00":                     {400, "bad_value", "not text"},
		"organizations?plan=%":                       {400, "bad_value", "escaped"},
		"organizations?a=1;b=2":                      {400, "bad_value", "escaped"},
		"organizations?%3Cb%3E=1":                    {400, "unknown_parameter", "known are"},
		"organizations?" + strings.Repeat("x", 9000): {400, "bad_value", "…"},
		"organizations?limit=0":                      {400, "bad_value", "1 to 500"},
		"organizations?limit=501":                    {400, "bad_value", "1 to 500"},
		"organizations?limit=99999999999999999999":   {400, "bad_value", "1 to 500"},
		"organizations?limit=ten":                    {400, "bad_value", "1 to 500"},
		"identities?active=yes":                      {400, "bad_value", "true or false"},
		"organizations?cursor=!":                     {400, "bad_cursor", "next"},
		"organizations?cursor=AAAAAAAAAAAAAAAA":      {400, "bad_cursor", "next"},
		"organizations?cursor=AAAA":                  {400, "bad_cursor", "next"},
		"organizations/t1?with=nope":                 {400, "unknown_relation", "apps, sso, members"},
		"organizations/t1?with=apps,":                {400, "unknown_relation", "apps, sso, members"},
		"organizations/t1?limit=1":                   {400, "unknown_parameter", "with"},
		"openapi.json?x=1":                           {400, "unknown_parameter", "nor any other"},
		"organizations/":                             {404, "not_found", "id"},
		"organizations/t1/":                          {404, "not_found", "%2F"},
		"organizations/t1/apps":                      {404, "not_found", "%2F"},
		"organization":                               {404, "not_found", "openapi.json"},
		"events":                                     {404, "not_found", "openapi.json"},
		"":                                           {404, "not_found", "openapi.json"},
		"../../metrics":                              {404, "not_found", "openapi.json"},
		"sessions/first":                             {404, "not_found", "id"},
	} {
		t.Run(path[:min(len(path), 40)], func(t *testing.T) {
			t.Parallel()
			got := s.get(t, api.Root+path)
			got.refused(t, c.status, c.reason, c.says)
			if len(got.body) > 600 || strings.Contains(got.body, "<b>") {
				t.Errorf("the answer repeats what was sent: %s", got.body)
			}
		})
	}
	s.get(t, "/api/v2/organizations").refused(t, 404, "not_found", "openapi.json")
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		got := s.do(t, method, api.Root+"organizations")
		got.refused(t, 405, "method_not_allowed", "GET and HEAD")
		if got.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: Allow is %q", method, got.header.Get("Allow"))
		}
	}
}

func TestPagesAreFollowedByTheirLinks(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, database string) {
		s := open(t, database, "")
		path, seen := api.Root+"memberships?limit=1&role=member&tenant=t1", []string{}
		for path != "" {
			got := s.get(t, path)
			var page listed
			got.into(t, &page)
			for _, row := range page.Data {
				seen = append(seen, row["membership_id"].(string))
			}
			path = ""
			if link := got.header.Get("Link"); link != "" {
				path = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
				if u, err := url.Parse(path); err != nil || page.Next == nil || u.Query().Get("cursor") != *page.Next {
					t.Fatalf("the link is %s, and next %v", link, page.Next)
				}
			} else if page.Next != nil {
				t.Error("there is a next page, and no link to it")
			}
		}
		if strings.Join(seen, " ") != "m1 m2" {
			t.Errorf("the pages had %v", seen)
		}
		var page listed
		s.get(t, api.Root+"memberships?limit=1&tenant=t1").into(t, &page)
		s.get(t, api.Root+"memberships?limit=3&tenant=t1&cursor="+*page.Next).into(t, &listed{}) // another size is fine
		for _, other := range []string{
			"memberships?tenant=t2&cursor=", "memberships?cursor=", "memberships?tenant=t1&status=left&cursor=", "licenses?tenant=t1&cursor=", "organizations?cursor=",
		} {
			s.get(t, api.Root+other+*page.Next).refused(t, 400, "bad_cursor", "this list")
		}
		s.get(t, api.Root+"memberships?tenant=t1&cursor="+(*page.Next)[:len(*page.Next)-1]).refused(t, 400, "bad_cursor", "this list")
	})
}

func TestAnAnswerThatStillHoldsIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := open(t, storetest.SQLite(t), "")
	for _, path := range []string{"organizations", "organizations/t1?with=all", "openapi.json"} {
		path = api.Root + path
		first := s.get(t, path)
		tag := first.header.Get("ETag")
		if first.status != 200 || !strings.HasPrefix(tag, `"`) || len(tag) < 20 || first.header.Get("Cache-Control") != "private, no-cache" {
			t.Fatalf("%s: %d, ETag %s, %s", path, first.status, tag, first.header.Get("Cache-Control"))
		}
		for _, given := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			if got := s.do(t, "GET", path, "If-None-Match", given); got.status != 304 || got.body != "" || got.header.Get("ETag") != tag {
				t.Errorf("%s with If-None-Match %s: %d %q", path, given, got.status, got.body)
			}
		}
		if got := s.do(t, "GET", path, "If-None-Match", `"other"`); got.status != 200 || got.body != first.body {
			t.Errorf("%s with another tag: %d", path, got.status)
		}
		head := s.do(t, "HEAD", path)
		if head.status != 200 || head.body != "" || head.header.Get("ETag") != tag || head.header.Get("Content-Length") != first.header.Get("Content-Length") {
			t.Errorf("HEAD %s: %d %q %v", path, head.status, head.body, head.header)
		}
	}
	before := s.get(t, api.Root+"organizations/t1").header.Get("ETag")
	if err := s.store.Ent(context.Background()).Organization.UpdateOneID("t1").SetPlan("free").Exec(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := s.do(t, "GET", api.Root+"organizations/t1", "If-None-Match", before); got.status != 200 || !strings.Contains(got.body, `"plan":"free"`) {
		t.Errorf("after a change: %d %s", got.status, got.body)
	}
	if got := s.do(t, "GET", api.Root+"organizations/nope", "If-None-Match", "*"); got.status != 404 {
		t.Errorf("a row that is not there: %d", got.status)
	}
}

func TestLaw11_StrangersSeeNothingOfTheMirror(t *testing.T) {
	t.Parallel()
	const token = "tok-canary"
	closed, loopback := open(t, storetest.SQLite(t), token), open(t, storetest.SQLite(t), "")
	for _, path := range []string{"organizations", "organizations/t1", "organizations/nope", "nope", "openapi.json"} {
		path = api.Root + path
		closed.get(t, path).refused(t, 401, "unauthorized", "admin.token")
		closed.do(t, "GET", path, "Authorization", "Bearer wrong").refused(t, 401, "unauthorized", "admin.token")
		if got := closed.do(t, "GET", path, "Authorization", "Bearer "+token); got.status == 401 || strings.Contains(got.body, mirrortest.Canary) {
			t.Errorf("with the token: %d %s", got.status, got.body)
		}
		req, err := http.NewRequestWithContext(t.Context(), "GET", loopback.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "rebind.example.com"
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 403 {
			t.Errorf("%s under another name: %d", path, resp.StatusCode)
		}
	}
}

func TestLaw10_RequestsTakeTurnsAndEnd(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, database string) {
		s := open(t, database, "")
		s.api.Hurry(time.Millisecond, time.Minute)
		var free []func()
		for range api.AtOnce {
			free = append(free, s.api.Occupy())
		}
		for _, path := range []string{"organizations", "organizations/t1"} {
			got := s.get(t, api.Root+path)
			got.refused(t, 503, "too_busy", "again")
			if got.header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After is %q", got.header.Get("Retry-After"))
			}
		}
		s.get(t, api.Root+"openapi.json").into(t, &map[string]any{}) // needs no database
		free[0]()
		s.get(t, api.Root+"organizations").into(t, &listed{})
		for range 2 * api.AtOnce { // each gives its turn back
			s.get(t, api.Root+"organizations/nope").refused(t, 404, "not_found", "")
			s.get(t, api.Root+"organizations?status=nope").refused(t, 400, "bad_value", "")
		}
		s.api.Hurry(time.Minute, time.Nanosecond)
		s.get(t, api.Root+"organizations").refused(t, 503, "too_slow", "less")
	})
}

func TestLaw6_ADatabaseInTroubleIsToldToTheLogAlone(t *testing.T) {
	t.Parallel()
	s := open(t, storetest.SQLite(t), "")
	if _, err := s.store.SQL(context.Background()).Exec(context.Background(), `ALTER TABLE av_licenses RENAME COLUMN license_type_id TO canary`); err != nil {
		t.Fatal(err)
	}
	got := s.get(t, api.Root+"licenses")
	got.refused(t, 503, "storage_unavailable", "log")
	if strings.Contains(got.body, "license_type_id") || !strings.Contains(s.log.String(), "license_type_id") {
		t.Errorf("the cause belongs into the log: %s\nanswer: %s", s.log, got.body)
	}
	s.get(t, api.Root+"organizations").into(t, &listed{})
}
