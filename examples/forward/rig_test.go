package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// newKey makes a private key of so many bits, in PEM.
func newKey(t *testing.T, bits int) (string, *rsa.PrivateKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), key
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// sharedKey is for tests that need just any key; making one takes a while.
var sharedKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
})

// received is a webhook that the peer found well signed.
type received struct {
	Channel, Event, Type, KeyID, Body string
}

// peer is a receiver that checks signatures against a key set over HTTP, as
// docs/webhooks.md tells it. It holds an event once.
type peer struct {
	t      *testing.T
	keySet string // its URL; empty: signatures are not checked

	mu     sync.Mutex
	got    []received
	answer func(n int) (status int, body string) // of the n-th request, from 0; nil: as a hub answers
	header http.Header
	n      int
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var set map[string]*rsa.PublicKey
	if p.keySet != "" {
		set = fetchKeys(p.t, p.keySet)
	}
	got, ok := readWebhook(r, set)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ok && p.keySet != "" {
		http.Error(w, `{"error":"the signature does not fit the bytes","reason":"bad_signature"}`, http.StatusUnauthorized)
		return
	}
	status, text := http.StatusOK, `{"status":"accepted","id":"x","position":1}`
	if p.answer != nil {
		status, text = p.answer(p.n)
	}
	p.n++
	if status == http.StatusOK {
		p.got = append(p.got, got)
	}
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// readWebhook reads a webhook of either form, and tells whether a key of the
// set proves it.
func readWebhook(r *http.Request, set map[string]*rsa.PublicKey) (received, bool) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return received{}, false // the sender has gone away
	}
	h := r.Header
	got := received{"system", "", h.Get("X-Webhook-Event"), h.Get("X-Webhook-Key-Id"), string(body)}
	signature, signed := h.Get("X-Webhook-Signature"), body
	if h.Get("X-AuthVital-Signature") != "" {
		got = received{"webhook", h.Get("X-AuthVital-Event-Id"), h.Get("X-AuthVital-Event-Type"), h.Get("X-AuthVital-Key-Id"), string(body)}
		signature, signed = h.Get("X-AuthVital-Signature"), []byte(h.Get("X-AuthVital-Timestamp")+"."+string(body))
	}
	raw, err := base64.StdEncoding.DecodeString(signature)
	key := set[got.KeyID]
	if key == nil || err != nil {
		return got, false
	}
	sum := sha256.Sum256(signed)
	return got, rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], raw) == nil
}

func fetchKeys(t *testing.T, address string) map[string]*rsa.PublicKey {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("the key set: %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return parseSet(t, text)
}

func parseSet(t *testing.T, text []byte) map[string]*rsa.PublicKey {
	t.Helper()
	var set struct {
		Keys []struct{ Kty, Kid, Use, Alg, N, E string }
	}
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte(`"d"`)) || bytes.Contains(text, []byte("PRIVATE")) {
		t.Fatal("the key set holds a private key")
	}
	keys := map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		n, err1 := base64.RawURLEncoding.DecodeString(k.N)
		e, err2 := base64.RawURLEncoding.DecodeString(k.E)
		if err1 != nil || err2 != nil || k.Kty != "RSA" || k.Use != "sig" || k.Alg != "RS256" || k.Kid == "" {
			t.Fatalf("key %+v: %v %v", k, err1, err2)
		}
		keys[k.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	return keys
}

// world is a fresh peer, with the configuration of a connector that sends to
// it; look shows what it holds.
func world(t *testing.T) (map[string]any, *peer, func() any) {
	t.Helper()
	p := &peer{t: t}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	cfg := map[string]any{"url": server.URL + "/webhooks/hub", "sources": []string{"authvital"}, "skip_sources": []string{"hub-b"}, "key": sharedKey()}
	return cfg, p, func() any {
		p.mu.Lock()
		defer p.mu.Unlock()
		return append([]received(nil), p.got...)
	}
}

// hub talks to the connector as a hub does, over a real connection.
type hub struct {
	pluginpb.ConnectorClient
	log *lockedBuffer
}

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

func serve(t *testing.T) hub {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := &lockedBuffer{}
	go func() { done <- connector.ServeListener(ctx, lis, log) }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return hub{pluginpb.NewConnectorClient(conn), log}
}

// configure puts a configuration in force and returns what is wrong with it.
func (h hub) configure(t *testing.T, cfg map[string]any, dry bool) []string {
	t.Helper()
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := h.Configure(t.Context(), &pluginpb.ConfigureRequest{Config: raw, DryRun: dry})
	if err != nil {
		t.Fatal(err)
	}
	var wrong []string
	for _, d := range resp.GetDiagnostics() {
		wrong = append(wrong, d.GetPath()+": "+d.GetSummary()+"; "+d.GetDetail())
	}
	return wrong
}

func (h hub) mustConfigure(t *testing.T, cfg map[string]any) {
	t.Helper()
	if wrong := h.configure(t, cfg, false); len(wrong) > 0 {
		t.Fatal(wrong)
	}
}

func (h hub) deliver(t *testing.T, ev *pluginpb.Event) *pluginpb.Verdict {
	t.Helper()
	resp, err := h.Deliver(t.Context(), &pluginpb.DeliverRequest{Events: []*pluginpb.Event{ev}})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetVerdicts()[0]
}

// webhook and system are events of the two channels. Their bodies have what a
// decoder would not keep: spaces, an order of its own, unknown members.
func webhook(id string) *pluginpb.Event {
	return &pluginpb.Event{
		Id: id, Type: "tenant.created", Key: "tenant:t1", Position: 1, Source: "authvital", Channel: "webhook", Attempt: 1,
		Body: []byte("{ \"type\":\"tenant.created\", \"id\":\"" + id + "\",\n\"x\":1.50, \"data\":{ \"tenant_id\":\"t1\" } }"),
		Data: []byte(`{ "tenant_id":"t1" }`),
	}
}

func system() *pluginpb.Event {
	return &pluginpb.Event{
		Id: "sys_1", Type: "tenant.deleted", Key: "tenant:t1", Position: 2, Source: "authvital", Channel: "system", Attempt: 1,
		OccurredAtUs: 1767225600123000,
		Body:         []byte("{\"event\":\"tenant.deleted\",\t\"data\":{}}"), Data: []byte(`{}`),
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().String()
}
