package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avhub/avhub/plugins/auditlog/ledger"
	"github.com/avhub/avhub/sdk/plugin"
)

const rigStreams = 7

// happening is the n-th event of the tests: people of some tenants change.
func happening(n int) plugin.Event {
	tenant, sub := fmt.Sprintf("tnt_%d", n%rigStreams), fmt.Sprintf("usr_%d", n%50)
	return plugin.Event{
		ID: fmt.Sprintf("evt_%d", n), Type: "subject.updated", Source: "authvital", Key: "tenant:" + tenant, TenantID: tenant,
		Subject: "identity:" + sub, OccurredAt: time.Date(2026, 3, 1, 0, 0, n, 0, time.UTC),
		Raw: json.RawMessage(fmt.Sprintf(`{"sub":"%s","email":"%s@fjord.example","given_name":"Ines-%d","changed_fields":["email","given_name"]}`, sub, sub, n)),
		Changes: []plugin.Change{{
			Entity: "identity", ID: sub, Field: "email",
			Before: json.RawMessage(`"before@fjord.example"`), After: json.RawMessage(fmt.Sprintf("%q", sub+"@fjord.example")),
		}},
	}
}

// writes adds events to the trail in dir, and closes it.
func writes(t testing.TB, dir string, from, to int) {
	t.Helper()
	l, err := ledger.Open(t.Context(), dir, ledger.Options{Origin: "audit.example", Interval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for n := from; n < to; n++ {
		if _, err := l.Record(t.Context(), happening(n), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// does runs the command.
func does(t testing.TB, args ...string) (code int, out string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = command(t.Context(), args, &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}

func copied(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"signer.key", "secret"} { // CopyFS makes modes wider
		if err := os.Chmod(filepath.Join(to, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func publicKey(t testing.TB, dir string) string {
	t.Helper()
	code, out := does(t, "key", dir)
	if code != 0 {
		t.Fatal(out)
	}
	return strings.TrimSpace(out)
}

func change(t testing.TB, path string, f func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func opens(t testing.TB, dir string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), dir, ledger.Options{Interval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(context.Background()) })
	return l
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
