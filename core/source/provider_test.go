package source_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/source"
)

// Keys are expensive to make, so tests share them.
var (
	signingKey = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	otherKey   = sync.OnceValue(func() *rsa.PrivateKey { return newKey(2048) })
	shortKey   = sync.OnceValue(func() *rsa.PrivateKey { return newKey(1024) })
	longKey    = sync.OnceValue(func() *rsa.PrivateKey { return newKey(3072) })
)

func newKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// jwkOf writes a public key as AuthVital publishes it.
func jwkOf(kid string, key *rsa.PrivateKey) map[string]any {
	return map[string]any{
		"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256",
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
}

// provider is a key set over real HTTP that can rotate, lie and break.
type provider struct {
	url     string
	mu      sync.Mutex
	keys    []map[string]any
	broken  http.HandlerFunc // answers instead, if set
	fetches int
	headers http.Header // of the last fetch
}

func newProvider(t testing.TB, keys ...map[string]any) *provider {
	t.Helper()
	p := &provider{keys: keys}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.fetches++
	p.headers = r.Header.Clone()
	broken, keys := p.broken, slices.Clone(p.keys)
	p.mu.Unlock()
	if broken != nil {
		broken(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
}

func (p *provider) publish(keys ...map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

func (p *provider) breakWith(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = h
}

func (p *provider) fetched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// memory is a journal that remembers, and can fail.
type memory struct {
	mu     sync.Mutex
	events []*event.Event
	fail   error
	crash  bool
}

func (m *memory) Append(_ context.Context, ev *event.Event) (journal.Receipt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.crash {
		panic("journal with " + string(ev.Evidence.Body))
	}
	if m.fail != nil {
		return journal.Receipt{}, m.fail
	}
	for i, old := range m.events {
		if old.ID == ev.ID && old.Source == ev.Source {
			outcome := journal.Duplicate
			if !bytes.Equal(old.Evidence.Body, ev.Evidence.Body) {
				outcome = journal.Conflict
			}
			return journal.Receipt{Outcome: outcome, Position: int64(i + 1)}, nil
		}
	}
	m.events = append(m.events, ev)
	return journal.Receipt{Outcome: journal.Accepted, Position: int64(len(m.events))}, nil
}

func (m *memory) all() []*event.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
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

// bundle is a source with everything around it.
type bundle struct {
	*source.Source
	url      string
	provider *provider
	journal  *memory
	log      *lockedBuffer
	server   *httptest.Server
}

const maxBody = 4096

// setup serves a source over real HTTP. Change cfg, deps or the server in edits.
func setup(t testing.TB, p *provider, edits ...func(*source.Config, *source.Deps, *http.Server)) *bundle {
	t.Helper()
	b := &bundle{provider: p, journal: &memory{}, log: &lockedBuffer{}}
	cfg := source.Config{Name: "authvital", Host: p.url, MaxAge: 300 * time.Second, MaxAhead: 60 * time.Second, MaxBody: maxBody}
	deps := source.Deps{Journal: b.journal, Log: zerolog.New(b.log).Level(zerolog.TraceLevel)}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.ServeHTTP(w, r) }))
	for _, edit := range edits {
		edit(&cfg, &deps, srv.Config)
	}
	var err error
	if b.Source, err = source.New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(srv.Close)
	b.server, b.url = srv, srv.URL+"/webhooks/authvital"
	return b
}

const webhookBody = `{"id":"evt_1","type":"subject.created","timestamp":"2026-03-01T10:00:00.123Z","tenant_id":"ten_1","application_id":"app_1","data":{"sub":"usr_1","email":"ada@example.com"}}`
const systemBody = `{"event":"tenant.created","timestamp":"2026-03-01T10:00:00.123Z","data":{"tenant_id":"ten_1","name":"Acme","slug":"acme","settings":{}}}`

func sign(key *rsa.PrivateKey, signed string) string {
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

// webhook is a delivery of channel A, signed now; edit it before it is sent.
func webhook(t testing.TB, url string, key *rsa.PrivateKey, kid, body string) *http.Request {
	return webhookAt(t, url, key, kid, body, strconv.FormatInt(time.Now().Unix(), 10))
}

func webhookAt(t testing.TB, url string, key *rsa.PrivateKey, kid, body, timestamp string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-AuthVital-Signature", sign(key, timestamp+"."+body))
	r.Header.Set("X-AuthVital-Key-Id", kid)
	r.Header.Set("X-AuthVital-Timestamp", timestamp)
	r.Header.Set("X-AuthVital-Event-Id", "evt_1")
	r.Header.Set("X-AuthVital-Event-Type", "subject.created")
	return r
}

// system is a delivery of channel B.
func system(t testing.TB, url string, key *rsa.PrivateKey, kid, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Webhook-Signature", sign(key, body))
	r.Header.Set("X-Webhook-Key-Id", kid)
	r.Header.Set("X-Webhook-Timestamp", "2026-03-01T10:00:00.123Z")
	r.Header.Set("X-Webhook-Event", "tenant.created")
	return r
}

// answer is what came back.
type answer struct {
	code   int
	header http.Header
	raw    string

	Status   string `json:"status"`
	ID       string `json:"id"`
	Position int64  `json:"position"`
	Error    string `json:"error"`
	Reason   string `json:"reason"`
}

func send(t testing.TB, r *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func read(t testing.TB, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{code: resp.StatusCode, header: resp.Header, raw: string(body)}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("the answer's Content-Type is %q", ct)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		t.Errorf("the answer %q is not JSON: %v", body, err)
	}
	if (a.code == http.StatusServiceUnavailable) != (resp.Header.Get("Retry-After") != "") {
		t.Errorf("status %d with Retry-After %q", a.code, resp.Header.Get("Retry-After"))
	}
	if a.code != http.StatusOK && (a.Error == "" || a.Reason == "") {
		t.Errorf("status %d without an error and a reason: %s", a.code, body)
	}
	return a
}

func (a answer) want(t testing.TB, code int, reason source.Reason) {
	t.Helper()
	if a.code != code || a.Reason != string(reason) {
		t.Errorf("got %d %q (%s), want %d %q", a.code, a.Reason, a.raw, code, reason)
	}
}

var errDiskFull = errors.New("disk full")
