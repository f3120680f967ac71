// Package provider is an identity provider for tests: one RSA key, its key set
// over HTTP, and signatures as AuthVital makes them. It shares no code with the
// hub's verification or with the simulator, so that a mistake in one of them
// does not hide in the other.
package provider

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"
)

const keyID = "key-1"

// Provider signs events and publishes its key.
type Provider struct {
	URL string // the host to put into a source's configuration
	key *rsa.PrivateKey
}

// New starts a provider that ends with the test.
func New(t testing.TB) *Provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	set := fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":%q,"use":"sig","alg":"RS256","n":%q,"e":%q}]}`,
		keyID, b64(key.N.Bytes()), b64(big.NewInt(int64(key.E)).Bytes()))
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(set)) // a client that has gone away is no failure
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &Provider{URL: server.URL, key: key}
}

// Webhook returns the headers of an application webhook that is sent now.
func (p *Provider) Webhook(body []byte) map[string]string {
	ts := strconv.FormatInt(time.Now().Unix(), 10)
	return map[string]string{
		"Content-Type":          "application/json",
		"X-AuthVital-Signature": p.sign(append([]byte(ts+"."), body...)),
		"X-AuthVital-Key-Id":    keyID,
		"X-AuthVital-Timestamp": ts,
	}
}

// System returns the headers of a system webhook.
func (p *Provider) System(body []byte) map[string]string {
	return map[string]string{
		"Content-Type":        "application/json",
		"X-Webhook-Signature": p.sign(body),
		"X-Webhook-Key-Id":    keyID,
		"X-Webhook-Timestamp": time.Now().UTC().Format(time.RFC3339Nano),
	}
}

func (p *Provider) sign(signed []byte) string {
	sum := sha256.Sum256(signed)
	sig, err := rsa.SignPKCS1v15(nil, p.key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err) // a key that was just made signs
	}
	return base64.StdEncoding.EncodeToString(sig)
}
