package integration_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/core/mirror/backfill/integration"
)

const oneMember = `{"tenantId":"t 1&x=/é","tenantName":"Fjord","tenantSlug":"fjord","initiateLoginUri":null,"memberships":[
	{"id":"m1","status":"ACTIVE","joinedAt":"2025-03-01T10:00:00.123Z","createdAt":"2025-02-01T10:00:00.000Z",
	 "user":{"id":"p1","email":"ines@a.example","givenName":"Ines","familyName":null},
	 "roles":[{"id":"r1","name":"Owner","slug":"owner","applicationId":null,"applicationName":null},
	          {"id":"r2","name":"Editor","slug":"editor","applicationId":"a1","applicationName":"Ledger"}]}],"totalCount":1}`

func TestATenantsMembersAreRead(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.members = func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); r.URL.Path != "/api/integration/tenant-memberships" || q.Get("tenantId") != tenantOne.ID || q.Get("includeRoles") != "true" {
			t.Errorf("asked for %s", r.URL)
		}
		says(oneMember)(w, r)
	}
	g, answer, err := a.read(t, tenantOne)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Head != (integration.Head{ID: tenantOne.ID, Name: "Fjord", Slug: "fjord"}) || answer.Members != 1 || answer.Total != 1 || len(g.members) != 1 {
		t.Fatalf("answer = %+v, %d members", answer, len(g.members))
	}
	m := g.members[0]
	if m.ID != "m1" || m.Status != "ACTIVE" || m.Person.Email != "ines@a.example" || m.Person.FamilyName != "" || len(m.Roles) != 2 ||
		m.Roles[1].ApplicationName != "Ledger" || !m.Since.Equal(time.Date(2025, 3, 1, 10, 0, 0, 123e6, time.UTC)) {
		t.Errorf("member = %+v", m)
	}
}

// JSON promises no order: what tells whose the members are may come behind them.
func TestAnApplicationsHeadMayComeBehindItsMembers(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.members = says(`{"memberships":[{"id":"m1","status":"ACTIVE","user":{"id":"p1"},"tenant":{"id":"t1"},"roles":[{"slug":"editor","applicationId":"other"}]}],
		"totalCount":1,"clientId":"ledger-web","applicationName":"Ledger","applicationId":"a1"}`)
	g, _, err := a.read(t, ledger)
	if err != nil || len(g.members) != 1 {
		t.Fatalf("%d members, %v", len(g.members), err)
	}
	if g.heads[0].ID != "a1" || g.heads[0].Name != "Ledger" || g.members[0].Roles[0].ApplicationID != "" {
		t.Errorf("head %+v, member %+v", g.heads[0], g.members[0])
	}
}

func TestATokenIsUsedAgainUntilItNearsItsEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expires any
		tokens  int64
	}{{600, 1}, {nil, 1}, {"600", 1}, {1e-9, 3}} {
		a := newAPI(t)
		a.expires, a.members = c.expires, says(oneMember)
		g := &got{}
		client := a.client(g)
		for range 3 {
			if _, err := client.Read(t.Context(), tenantOne, g.sink()); err != nil {
				t.Fatalf("expires_in %v: %v", c.expires, err)
			}
		}
		if n := a.tokens.Load(); n != c.tokens {
			t.Errorf("expires_in %v: %d tokens, want %d", c.expires, n, c.tokens)
		}
	}
}

func TestATokenThatIsRefusedIsReplacedOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.members = says(oneMember)
	a.stale.Store("Bearer token-1", true)
	if g, _, err := a.read(t, tenantOne); err != nil || len(g.members) != 1 || a.tokens.Load() != 2 {
		t.Fatalf("%d members with %d tokens, %v", len(g.members), a.tokens.Load(), err)
	}
	a.stale.Store("Bearer token-3", true)
	a.stale.Store("Bearer token-4", true)
	g, _, err := a.read(t, tenantOne)
	var refused *integration.Refused
	if !errors.As(err, &refused) || refused.Status != 401 || a.tokens.Load() != 4 {
		t.Fatalf("%v, %d tokens", err, a.tokens.Load())
	}
	if strings.Contains(err.Error(), "token-4") || !strings.Contains(err.Error(), "[redacted] has expired") || !strings.Contains(err.Error(), "api.client_id") {
		t.Errorf("the error is %q", err)
	}
	quiet(t, g, err)
}

// quiet makes sure that nothing tells a secret.
func quiet(t *testing.T, g *got, err error) {
	t.Helper()
	for _, text := range []string{fmt.Sprint(err), g.log.String()} {
		if strings.Contains(text, clientSecret) || strings.Contains(text, "token-") || strings.Contains(text, "grant_type") {
			t.Errorf("a secret is told: %s", text)
		}
	}
}

func TestWrongCredentialsAreAnErrorThatSaysWhatToDo(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	g := &got{}
	client := integration.New(integration.Options{BaseURL: a.URL, ClientID: "somebody", ClientSecret: clientSecret})
	_, err := client.Read(t.Context(), tenantOne, g.sink())
	if err == nil || !strings.Contains(err.Error(), "answered 401: unknown client or secret [redacted]") || !strings.Contains(err.Error(), "client_secret right?") || a.asked.Load() != 0 {
		t.Errorf("%v", err)
	}
	quiet(t, g, err)
}

func TestTroubleThatPassesIsTriedAgain(t *testing.T) {
	t.Parallel()
	later := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	for name, trouble := range map[string]struct {
		handler http.HandlerFunc
		atLeast time.Duration
	}{
		"500":                        {handler: status(500, nil)},
		"503 with a date":            {status(503, map[string]string{"Retry-After": later}), 80 * time.Second},
		"429":                        {status(429, map[string]string{"Retry-After": "7"}), 7 * time.Second},
		"429 with nonsense":          {handler: status(429, map[string]string{"Retry-After": "soon"})},
		"an answer that breaks off":  {handler: says(oneMember[:len(oneMember)-40])},
		"an answer that is cut":      {handler: cut(oneMember, 200)},
		"an answer that falls quiet": {handler: silent(oneMember, 150)},
		"no answer at all":           {handler: says("")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			failing := 2
			a.members = func(w http.ResponseWriter, r *http.Request) {
				if failing--; failing >= 0 {
					trouble.handler(w, r)
					return
				}
				says(oneMember)(w, r)
			}
			g, _, err := a.read(t, tenantOne)
			if err != nil || len(g.members) != 1 || len(g.pauses) != 2 {
				t.Fatalf("%d members, pauses %v, %v", len(g.members), g.pauses, err)
			}
			for _, pause := range g.pauses {
				if pause < trouble.atLeast || pause < 10*time.Millisecond || pause > trouble.atLeast+31*time.Second {
					t.Errorf("a pause of %v, asked for were %v", pause, trouble.atLeast)
				}
			}
			quiet(t, g, nil)
		})
	}
}

func status(code int, headers map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		say(w, code, map[string]any{"message": "not now", "statusCode": code})
	}
}

// cut promises all of text and sends n bytes of it.
func cut(text string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		_, _ = w.Write([]byte(text[:n]))
		w.(http.Flusher).Flush() // else the client hears of nothing, and its transport tries again by itself
		panic(http.ErrAbortHandler)
	}
}

// silent sends n bytes of text and then nothing more.
func silent(text string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(text[:n]))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

func TestTroubleThatStaysIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		tries   int64
		says    string
	}{
		"always 503":     {status(503, nil), 8, "answered 503: not now (tried 8 times)"},
		"a day's rest":   {status(429, map[string]string{"Retry-After": "86400"}), 1, "left alone for 24h"},
		"always cut off": {cut(oneMember, 100), 8, "broke off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.members = c.handler
			_, _, err := a.read(t, tenantOne)
			var unavailable *integration.Unavailable
			if !errors.As(err, &unavailable) || a.asked.Load() != c.tries || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), `members of tenant "t 1&x=/é"`) {
				t.Errorf("asked %d times: %v", a.asked.Load(), err)
			}
		})
	}
}

func TestWhatIsRefusedIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"unknown":    {nil, `answered 404: no such tenant; ask [31m again`},
		"forbidden":  {status(403, nil), "may read members"[4:]},
		"a redirect": {http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound).ServeHTTP, "api.url"},
		"no content": {status(204, nil), "answered 204"},
		"a page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, "<html>Log in</html>")
		}, "text/html instead of JSON"},
		"a page that says it is JSON": {says("<html>Log in</html>"), "api.url"},
		"another tenant":              {says(strings.Replace(oneMember, tenantOne.ID, "t2", 1)), "another tenant"},
		"a list":                      {says(`[]`), "no JSON object"},
		"a number":                    {says(`7`), "no JSON object"},
		"members that are none":       {says(`{"memberships":{"a":1}}`), "no JSON array"},
		"two answers":                 {says(`{"memberships":[]} {}`), "something follows"},
		"a name that is none":         {says(`{"tenantName":7}`), "tenantName is no text"},
		"a count that is none":        {says(`{"totalCount":"7"}`), "totalCount"},
		"broken JSON":                 {says(`{"memberships":[{"id":tru}]}`), "not JSON at byte"},
		"a vast value":                {says(`{"x":"` + strings.Repeat("x", 3<<20) + `"}`), "1 MiB"},
		"a vast member":               {says(`{"memberships":[{"id":"` + strings.Repeat("x", 3<<20) + `"}]}`), "1 MiB"},
		"a vast name":                 {says(`{"` + strings.Repeat("x", 3<<20) + `":1}`), "1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.members = c.handler
			g, _, err := a.read(t, tenantOne)
			if err == nil || !strings.Contains(err.Error(), c.says) || a.asked.Load() != 1 || !strings.Contains(err.Error(), "members of tenant") {
				t.Errorf("asked %d times: %v", a.asked.Load(), err)
			}
			quiet(t, g, err)
		})
	}
}

func TestAnApplicationThatDoesNotSayItsIDIsRefused(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.members = says(`{"memberships":[],"clientId":"ledger-web"}`)
	if _, _, err := a.read(t, ledger); err == nil || !strings.Contains(err.Error(), "no applicationId") {
		t.Error(err)
	}
}

// Each of these costs itself alone.
func TestAMemberThatCannotBeUsedCostsOnlyItself(t *testing.T) {
	t.Parallel()
	good := `{"id":"m1","status":"ACTIVE","user":{"id":"p1"},"tenant":{"id":"t1"}}`
	for bad, want := range map[string]string{
		`7`:          "JSON number instead of an object",
		`[]`:         "JSON array instead of an object",
		`null`:       "field id is missing",
		`{"id":7}`:   "field id is a JSON number",
		`{"id":"m"}`: "field user is missing",
		`{"id":"m","user":{"id":""},"tenant":{"id":"t"}}`:                                                  `"m" its field user.id is missing`,
		`{"id":"m","user":{"id":"p","email":["x"]}}`:                                                       `"m" its field user.email is a JSON array`,
		`{"id":"m","user":{"id":"p"}}`:                                                                     "field tenant is missing",
		`{"id":"m","user":{"id":"p"},"tenant":{}}`:                                                         "tenant.id is missing",
		`{"id":"m","user":{"id":"p"},"tenant":{"id":"t"},"roles":{}}`:                                      "field roles is a JSON object",
		`{"id":"m","user":{"id":"p"},"tenant":{"id":"t"},"roles":[{"id":1}]}`:                              "field roles.id is a JSON number",
		`{"id":"m","user":{"id":"p"},"tenant":{"id":"t"},"joinedAt":"yesterday"}`:                          "no RFC 3339 time",
		`{"id":"m","user":{"id":"p","givenName":"a\u0000b"},"tenant":{"id":"t"}}`:                          "U+0000",
		`{"id":"m","user":{"id":"p\n"},"tenant":{"id":"t"}}`:                                               "control characters",
		`{"id":"` + strings.Repeat("m", 513) + `","user":{"id":"p"},"tenant":{"id":"t"}}`:                  "512 bytes",
		`{"id":"m","user":{"id":"p"},"tenant":{"id":"t"},"roles":[` + strings.Repeat(`{},`, 1000) + `{}]}`: "more than 1000 elements",
		`{"id":"m","status":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `,"user":null}`:  "",
	} {
		a := newAPI(t)
		a.members = says(`{"applicationId":"a1","memberships":[` + good + "," + bad + "," + good + `],"totalCount":3}`)
		g, answer, err := a.read(t, ledger)
		if want == "" { // deeper than any JSON is read: not a member's fault alone
			if err == nil {
				t.Error("20,000 levels were read")
			}
			continue
		}
		if err != nil || len(g.members) != 2 || answer.Members != 3 || len(g.bad) != 1 || !strings.HasPrefix(g.bad[0], "1 ") || !strings.Contains(g.bad[0], want) {
			t.Errorf("%.80s: %d of %d members, bad %.200q, %v", bad, len(g.members), answer.Members, g.bad, err)
		}
	}
}

func TestAFailureOfTheSinkEndsTheReading(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.members = says(oneMember)
	full := errors.New("the disk is full")
	g := &got{}
	sink := g.sink()
	sink.Member = func(integration.Head, integration.Member) error { return full }
	if _, err := a.client(g).Read(t.Context(), tenantOne, sink); !errors.Is(err, full) || a.asked.Load() != 1 {
		t.Errorf("asked %d times: %v", a.asked.Load(), err)
	}
}

func TestReadingCanBeInterrupted(t *testing.T) {
	t.Parallel()
	t.Run("while the provider is silent", func(t *testing.T) {
		t.Parallel()
		a := newAPI(t)
		ctx, cancel := context.WithCancel(t.Context())
		a.members = func(w http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() }
		g := &got{}
		if _, err := a.client(g).Read(ctx, tenantOne, g.sink()); !errors.Is(err, context.Canceled) || len(g.pauses) != 0 {
			t.Errorf("%v after %v", err, g.pauses)
		}
	})
	t.Run("between attempts", func(t *testing.T) {
		t.Parallel()
		a := newAPI(t)
		ctx, cancel := context.WithCancel(t.Context())
		a.members = func(w http.ResponseWriter, r *http.Request) {
			status(503, map[string]string{"Retry-After": "200"})(w, r)
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		client := integration.New(integration.Options{BaseURL: a.URL, ClientID: clientID, ClientSecret: clientSecret})
		if _, err := client.Read(ctx, tenantOne, (&got{}).sink()); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestATokenEndpointThatAnswersNonsenseIsReported(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{}`:                           "no access_token",
		`[]`:                           "no JSON object",
		`{"access_token":"a b"}`:       "cannot stand in a header",
		`{"access_token":"a\r\nX: y"}`: "cannot stand in a header",
		`{"access_token":7}`:           "no JSON object",
		`{"access_token":"x","token_type":"MAC"}`:                "not Bearer",
		`{"access_token":"x","expires_in":-1}`:                   "expires_in",
		`{"access_token":"` + strings.Repeat("x", 20<<10) + `"}`: "too long",
	} {
		a := newAPI(t)
		a.token, a.members = says(text), says(oneMember)
		if g, _, err := a.read(t, tenantOne); err == nil || !strings.Contains(err.Error(), want) || a.asked.Load() != 0 || len(g.pauses) > 0 {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}
