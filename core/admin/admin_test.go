package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/admin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

const token = "s3cr3t-canary-token"

// buffer is a log that requests of several connections may write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type bundle struct {
	url string
	log *buffer
}

func setup(t *testing.T, deps admin.Deps) bundle {
	t.Helper()
	log := &buffer{}
	deps.Log = zerolog.New(log)
	if deps.Gatherer == nil {
		reg := prometheus.NewRegistry()
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "avhub_canary_total", Help: "A canary."})
		reg.MustRegister(c)
		deps.Gatherer = reg
	}
	srv := httptest.NewServer(admin.New(deps))
	t.Cleanup(srv.Close)
	return bundle{srv.URL, log}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (b bundle) do(t *testing.T, method, path string, change ...func(*http.Request)) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(req)
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

func bearer(values ...string) func(*http.Request) {
	return func(r *http.Request) {
		for _, v := range values {
			r.Header.Add("Authorization", v)
		}
	}
}

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

func TestEveryPathAnswersAsDocumented(t *testing.T) {
	t.Parallel()
	open, closed := setup(t, admin.Deps{}), setup(t, admin.Deps{Token: token})
	for name, c := range map[string]struct {
		at     bundle
		method string
		path   string
		change []func(*http.Request)
		status int
		holds  string
	}{
		"health":                        {open, "GET", "/healthz", nil, 200, "ok\n"},
		"health needs no token":         {closed, "GET", "/healthz", nil, 200, "ok\n"},
		"health of a HEAD":              {open, "HEAD", "/healthz", nil, 200, ""},
		"index":                         {open, "GET", "/", nil, 200, "/readyz"},
		"index needs no token":          {closed, "GET", "/", nil, 200, "needs the token"},
		"metrics":                       {open, "GET", "/metrics", nil, 200, "avhub_canary_total 0"},
		"metrics with the token":        {closed, "GET", "/metrics", []func(*http.Request){bearer("Bearer " + token)}, 200, "avhub_canary_total 0"},
		"the scheme's case is free":     {closed, "GET", "/metrics", []func(*http.Request){bearer("bearer " + token)}, 200, "avhub_canary_total 0"},
		"metrics without the token":     {closed, "GET", "/metrics", nil, 401, "Authorization"},
		"metrics with another token":    {closed, "GET", "/metrics", []func(*http.Request){bearer("Bearer " + token + "x")}, 401, "Authorization"},
		"metrics with half the token":   {closed, "GET", "/metrics", []func(*http.Request){bearer("Bearer " + token[:5])}, 401, "Authorization"},
		"an empty token":                {closed, "GET", "/metrics", []func(*http.Request){bearer("Bearer ")}, 401, "Authorization"},
		"another scheme":                {closed, "GET", "/metrics", []func(*http.Request){bearer("Basic " + token)}, 401, "Authorization"},
		"two headers, one of them good": {closed, "GET", "/metrics", []func(*http.Request){bearer("Bearer "+token, "Bearer x")}, 401, "Authorization"},
		"ready":                         {open, "GET", "/readyz", nil, 200, "[]"},
		"a wrong token on readyz":       {closed, "GET", "/readyz", []func(*http.Request){bearer("Bearer nonsense")}, 401, "Authorization"},
		"POST":                          {open, "POST", "/healthz", nil, 405, "GET and HEAD"},
		"DELETE":                        {closed, "DELETE", "/metrics", nil, 405, "GET and HEAD"},
		"another path":                  {open, "GET", "/api/v1/events", nil, 404, "GET /"},
		"a path below":                  {open, "GET", "/healthz/", nil, 404, "GET /"},
		"a path that climbs":            {open, "GET", "/x/../metrics", nil, 404, "GET /"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := c.at.do(t, c.method, c.path, c.change...)
			if got.status != c.status || !strings.Contains(got.body, c.holds) {
				t.Errorf("got %d %q, want %d with %q in it", got.status, got.body, c.status, c.holds)
			}
			if got.status >= 400 {
				var failure struct{ Error string }
				if err := json.Unmarshal([]byte(got.body), &failure); err != nil || failure.Error == "" {
					t.Errorf("a refusal is not JSON with a reason: %q", got.body)
				}
			}
			if want := got.status == 401; want != (got.header.Get("WWW-Authenticate") != "") {
				t.Errorf("WWW-Authenticate is %q with status %d", got.header.Get("WWW-Authenticate"), got.status)
			}
			if want := got.status == 405; want != (got.header.Get("Allow") != "") {
				t.Errorf("Allow is %q with status %d", got.header.Get("Allow"), got.status)
			}
		})
	}
}

func TestReadinessTellsStrangersOneWord(t *testing.T) {
	t.Parallel()
	ready := func(ok bool) func(context.Context) []admin.Check {
		return func(context.Context) []admin.Check {
			return []admin.Check{{Name: "storage", OK: true}, {Name: "key set of authvital", OK: ok, Detail: "canary detail"}}
		}
	}
	for name, c := range map[string]struct {
		deps   admin.Deps
		change []func(*http.Request)
		status int
		word   string // empty: the list of checks
	}{
		"open, ready":                  {admin.Deps{Ready: ready(true)}, nil, 200, ""},
		"open, not ready":              {admin.Deps{Ready: ready(false)}, nil, 503, ""},
		"with the token, ready":        {admin.Deps{Ready: ready(true), Token: token}, []func(*http.Request){bearer("Bearer " + token)}, 200, ""},
		"with the token, not ready":    {admin.Deps{Ready: ready(false), Token: token}, []func(*http.Request){bearer("Bearer " + token)}, 503, ""},
		"without the token, ready":     {admin.Deps{Ready: ready(true), Token: token}, nil, 200, "ready\n"},
		"without the token, not ready": {admin.Deps{Ready: ready(false), Token: token}, nil, 503, "not ready\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := setup(t, c.deps).do(t, "GET", "/readyz", c.change...)
			if got.status != c.status {
				t.Fatalf("got %d, want %d: %s", got.status, c.status, got.body)
			}
			if c.word != "" {
				if got.body != c.word {
					t.Errorf("got %q, want %q", got.body, c.word)
				}
				return
			}
			var checks []admin.Check
			if err := json.Unmarshal([]byte(got.body), &checks); err != nil {
				t.Fatal(err)
			}
			if len(checks) != 2 || checks[1].Detail != "canary detail" || checks[1].OK != (c.status == 200) {
				t.Errorf("checks are %+v", checks)
			}
		})
	}
}

// A page on the internet whose name points at 127.0.0.1 sends its own name.
func TestWithoutATokenOnlyThisMachinesNamesAreServed(t *testing.T) {
	t.Parallel()
	open, closed := setup(t, admin.Deps{}), setup(t, admin.Deps{Token: token})
	for name, served := range map[string]bool{
		"localhost": true, "LOCALHOST:8081": true, "127.0.0.1": true, "127.0.0.1:8081": true, "127.9.9.9": true,
		"[::1]": true, "[::1]:8081": true,
		"rebind.example.com": false, "rebind.example.com:8081": false, "localhost.example.com": false,
		"127.0.0.1.example.com": false, "10.0.0.1": false, "[fe80::1]": false, "0.0.0.0": false, "example.com:127": false,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := 403
			if served {
				want = 200
			}
			for _, path := range []string{"/", "/healthz", "/readyz", "/metrics"} {
				if got := open.do(t, "GET", path, host(name)); got.status != want {
					t.Errorf("%s without a token: got %d, want %d", path, got.status, want)
				}
				if got := closed.do(t, "GET", path, host(name), bearer("Bearer "+token)); got.status != 200 {
					t.Errorf("%s with a token: got %d, want 200", path, got.status)
				}
			}
		})
	}
}

func TestLaw11_NoTokenInLogsOrAnswers(t *testing.T) {
	t.Parallel()
	b := setup(t, admin.Deps{Token: token})
	var seen strings.Builder
	for _, value := range []string{"Bearer guess-canary", "Bearer " + token + "-almost", "Basic " + token} {
		for range 3 {
			got := b.do(t, "GET", "/metrics", bearer(value))
			seen.WriteString(got.body)
		}
	}
	log := b.log.String()
	if n := strings.Count(log, "wrong token"); n != 1 {
		t.Errorf("%d lines about nine wrong tokens, want one a minute:\n%s", n, log)
	}
	for _, canary := range []string{token, "guess-canary"} {
		if strings.Contains(log+seen.String(), canary) {
			t.Errorf("%q shows in the log or an answer", canary)
		}
	}
}

type broken struct{}

func (broken) Describe(chan<- *prometheus.Desc) {}
func (broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(errors.New("canary trouble")), errors.New("canary trouble"))
}

func TestLaw6_ABrokenMetricHidesNoOther(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	good := prometheus.NewGauge(prometheus.GaugeOpts{Name: "avhub_good", Help: "Good."})
	reg.MustRegister(good, broken{})
	b := setup(t, admin.Deps{Gatherer: reg})
	got := b.do(t, "GET", "/metrics")
	if got.status != 200 || !strings.Contains(got.body, "avhub_good 0") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if strings.Contains(got.body, "canary trouble") || !strings.Contains(b.log.String(), "canary trouble") {
		t.Errorf("the trouble belongs into the log: %s", b.log)
	}
}

func TestReadinessIsAskedWithADeadline(t *testing.T) {
	t.Parallel()
	var left time.Duration
	b := setup(t, admin.Deps{Ready: func(ctx context.Context) []admin.Check {
		at, ok := ctx.Deadline()
		if ok {
			left = time.Until(at)
		}
		return nil
	}})
	if got := b.do(t, "GET", "/readyz"); got.status != 200 || left <= 0 || left > 10*time.Second {
		t.Errorf("got %d with %s left", got.status, left)
	}
}
