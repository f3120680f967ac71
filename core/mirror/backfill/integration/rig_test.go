package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avhub/avhub/core/mirror/backfill/integration"
	"github.com/rs/zerolog"
)

const (
	clientID     = "machine-1"
	clientSecret = "s3cr3t+&=/%"
)

// api is a provider whose answers a test writes.
type api struct {
	*httptest.Server
	tokens  atomic.Int64 // that were given out
	asked   atomic.Int64 // requests for members
	expires any          // expires_in
	// members answers; nil: 404.
	members http.HandlerFunc
	// token answers instead of the ordinary one.
	token http.HandlerFunc
	// stale are tokens that are refused.
	stale sync.Map
}

func newAPI(t testing.TB) *api {
	t.Helper()
	a := &api{expires: 600}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) {
		if a.token != nil {
			a.token(w, r)
			return
		}
		if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != "client_credentials" ||
			r.PostForm.Get("client_id") != clientID || r.PostForm.Get("client_secret") != clientSecret || r.URL.RawQuery != "" {
			say(w, http.StatusUnauthorized, map[string]any{"message": "unknown client or secret " + r.PostForm.Get("client_secret"), "statusCode": 401})
			return
		}
		say(w, 200, map[string]any{"access_token": fmt.Sprintf("token-%d", a.tokens.Add(1)), "token_type": "Bearer", "expires_in": a.expires, "scope": "x"})
	})
	ask := func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		shown := r.Header.Get("Authorization")
		if _, stale := a.stale.Load(shown); stale || shown == "" {
			say(w, http.StatusUnauthorized, map[string]any{"message": "the token " + shown + " has expired", "statusCode": 401})
			return
		}
		if a.members == nil {
			say(w, http.StatusNotFound, map[string]any{"message": []string{"no such tenant", "ask\x1b[31m again."}, "statusCode": 404})
			return
		}
		a.members(w, r)
	}
	mux.HandleFunc("GET /api/integration/tenant-memberships", ask)
	mux.HandleFunc("GET /api/integration/application-memberships", ask)
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func say(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// says answers with a text as JSON.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text)
	}
}

// got is what a sink took.
type got struct {
	begun   int
	members []integration.Member
	heads   []integration.Head
	bad     []string
	pauses  []time.Duration
	log     safeBuffer
}

// safeBuffer keeps a log.
type safeBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p...)
	return len(p), nil
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

func (g *got) sink() integration.Sink {
	return integration.Sink{
		Begin: func() { g.begun++; g.members, g.heads, g.bad = nil, nil, nil },
		Member: func(h integration.Head, m integration.Member) error {
			g.members, g.heads = append(g.members, m), append(g.heads, h)
			return nil
		},
		Bad: func(index int, id, reason string) { g.bad = append(g.bad, fmt.Sprintf("%d %q %s", index, id, reason)) },
	}
}

// client is one that does not really wait.
func (a *api) client(g *got) *integration.Client {
	return integration.New(integration.Options{
		BaseURL: a.URL, ClientID: clientID, ClientSecret: clientSecret, Idle: 200 * time.Millisecond, Log: zerolog.New(&g.log),
		Wait: func(_ context.Context, pause time.Duration) error {
			g.pauses = append(g.pauses, pause)
			return nil
		},
	})
}

var (
	tenantOne = integration.Unit{Kind: integration.Tenant, ID: "t 1&x=/é"}
	ledger    = integration.Unit{Kind: integration.Application, ID: "ledger-web"}
)

func (a *api) read(t *testing.T, u integration.Unit) (*got, integration.Answer, error) {
	t.Helper()
	g := &got{}
	answer, err := a.client(g).Read(t.Context(), u, g.sink())
	return g, answer, err
}
