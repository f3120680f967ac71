package source_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestASenderThatSharesNoCodeWithUs signs with openssl and writes its request
// by hand, so that a mistake that our signer and our verifier share shows up.
func TestASenderThatSharesNoCodeWithUs(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed, so no independent signer is at hand")
	}
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())))
	pemFile := keyFile(t)
	signature := func(signed string) string {
		cmd := exec.Command(openssl, "dgst", "-sha256", "-sign", pemFile)
		cmd.Stdin = strings.NewReader(signed)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl: %v: %s", err, stderr.String())
		}
		return base64.StdEncoding.EncodeToString(out)
	}
	post := func(body string, headers ...string) answer {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.server.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /webhooks/authvital HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n\r\n%s",
			len(body), strings.Join(headers, "\r\n"), body)
		return answerOn(t, conn)
	}

	stamp := fmt.Sprint(time.Now().Unix())
	// Header names in the case that Node's HTTP client writes them.
	if a := post(webhookBody, "x-authvital-signature: "+signature(stamp+"."+webhookBody), "x-authvital-key-id: k1", "x-authvital-timestamp: "+stamp); a.code != 200 || a.ID != "evt_1" {
		t.Errorf("webhook: %+v", a)
	}
	if a := post(systemBody, "x-webhook-signature: "+signature(systemBody), "x-webhook-key-id: k1", "x-webhook-timestamp: 2026-03-01T10:00:00.123Z"); a.code != 200 {
		t.Errorf("system webhook: %+v", a)
	}
	if a := post(systemBody, "x-webhook-signature: "+signature(systemBody+"\n"), "x-webhook-key-id: k1"); a.code != 401 {
		t.Errorf("a system webhook with another line end than was signed: %+v", a)
	}
}

// TestTheDocumentedExamplesWork runs the shell examples of docs/webhooks.md.
func TestTheDocumentedExamplesWork(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"sh", "openssl", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed, so the examples cannot be run", tool)
		}
	}
	b := setup(t, newProvider(t, jwkOf("k1", signingKey())))
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "webhooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(doc), "```sh\n")[1:]
	if len(examples) != 2 {
		t.Fatalf("found %d examples, want one for each channel", len(examples))
	}
	for i, want := range []string{`"id":"evt_by_hand","position":1`, `"position":2`} {
		script, _, _ := strings.Cut(examples[i], "```")
		cmd := exec.Command("sh", "-e", "-c", script)
		cmd.Env = append(os.Environ(), "HUB="+b.url, "KEY="+keyFile(t), "KID=k1", "no_proxy=*")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"status":"accepted"`) || !strings.Contains(string(out), want) {
			t.Errorf("example %d: %v: %s", i+1, err, out)
		}
	}
}

// keyFile writes the signing key as PEM.
func keyFile(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(signingKey())
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
