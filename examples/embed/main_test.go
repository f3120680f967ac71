package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/internal/provider"
)

// The example does what its README says: an event comes in by the team's own
// server, the team's own page shows it, and who may see which page follows at
// once.
func TestAnEventShowsOnTheTeamsOwnPage(t *testing.T) {
	p := provider.New(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	dir := t.TempDir()
	t.Chdir(dir)
	config := fmt.Sprintf("server: { listen: %q }\nstorage: { url: \"sqlite://embed.db\" }\nsources:\n  - { name: authvital, host: %q, path: /webhooks/authvital }\n", address, p.URL)
	if err := os.WriteFile(filepath.Join(dir, "avhub.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, stop) }()

	body := []byte(`{"event":"tenant.created","timestamp":"2026-01-02T03:04:05.678Z","data":{"tenant_id":"tnt_1","name":"Acme","slug":"acme-corp","created_at":"2026-01-02T03:04:05.678Z","settings":{}}}`)
	deadline := time.Now().Add(30 * time.Second)
	for {
		status, text := send(t, address, p.System(body), body)
		if status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("status %d: %s", status, text)
		}
		time.Sleep(20 * time.Millisecond) // it is still starting
	}
	page := func(path, person string, status int, want string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-User", person)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status || !strings.Contains(string(text), want) {
			t.Errorf("%s for %q: %d %s %v, want %d %s", path, person, resp.StatusCode, text, err, status, want)
		}
	}
	page("/customers/acme-corp", "", http.StatusOK, `"name":"Acme"`)
	page("/customers/nobody", "", http.StatusNotFound, "unknown_tenant")
	page("/customers/acme-corp/ledger", "", http.StatusUnauthorized, "no_identity")
	page("/customers/acme-corp/ledger", "ann", http.StatusForbidden, "unknown_identity")

	grant := []byte(`{"id":"evt_1","type":"app_access.granted","timestamp":"2026-01-02T03:04:06Z","tenant_id":"tnt_1","application_id":"app_ledger","data":{"membership_id":"m_1","sub":"ann","role_id":"r","role_name":"Bookkeeper","role_slug":"bookkeeper"}}`)
	if status, text := send(t, address, p.Webhook(grant), grant); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, text)
	}
	page("/customers/acme-corp/ledger", "ann", http.StatusOK, "the role bookkeeper")
	suspend := []byte(`{"event":"tenant.suspended","timestamp":"2026-01-02T03:04:07.000Z","data":{"tenant_id":"tnt_1","name":"Acme","slug":"acme-corp","suspended_at":"2026-01-02T03:04:07.000Z"}}`)
	if status, text := send(t, address, p.System(suspend), suspend); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, text)
	}
	page("/customers/acme-corp/ledger", "ann", http.StatusForbidden, "tenant_suspended")
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it did not end")
	}
}

func send(t *testing.T, address string, headers map[string]string, body []byte) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+address+"/webhooks/authvital", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}
