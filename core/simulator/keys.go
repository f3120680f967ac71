package simulator

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"sync"
)

// keptKeys is how many replaced keys stay in the set: enough for anything that
// was signed before a rotation, without growing for ever.
const keptKeys = 4

type signingKey struct {
	kid string
	key *rsa.PrivateKey
}

func newSigningKey() (signingKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return signingKey{}, fmt.Errorf("generating a signing key: %w", err)
	}
	sum := sha256.Sum256(key.N.Bytes())
	return signingKey{kid: "sim-" + hex.EncodeToString(sum[:6]), key: key}, nil
}

// sign makes an RSASSA-PKCS1-v1_5 signature with SHA-256, in standard base64.
func (k signingKey) sign(signed []byte) (string, error) {
	sum := sha256.Sum256(signed)
	sig, err := rsa.SignPKCS1v15(nil, k.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing an event: %w", err)
	}
	return base64.StdEncoding.EncodeToString(sig), nil
}

// keyring holds the provider's keys. Like the real one it signs webhooks with a
// dedicated key and publishes others beside it.
type keyring struct {
	mu      sync.Mutex
	webhook signingKey
	old     []signingKey // replaced webhook keys, newest first
	login   signingKey   // the one that would sign id tokens
}

func newKeyring() (*keyring, error) {
	// Two at once: primes take their time, and a user waits for the start.
	var r keyring
	var wg sync.WaitGroup
	var errWebhook, errLogin error
	wg.Go(func() { r.webhook, errWebhook = newSigningKey() })
	wg.Go(func() { r.login, errLogin = newSigningKey() })
	wg.Wait()
	if errWebhook != nil {
		return nil, errWebhook
	}
	return &r, errLogin
}

func (r *keyring) current() signingKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.webhook
}

// rotate replaces the webhook key by a new one. Both are in the set.
func (r *keyring) rotate() (string, error) {
	next, err := newSigningKey()
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.old = append([]signingKey{r.webhook}, r.old[:min(len(r.old), keptKeys-1)]...)
	r.webhook = next
	return next.kid, nil
}

// ServeHTTP answers with the JSON Web Key Set (RFC 7517).
func (r *keyring) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	type jwk struct {
		Kty string `json:"kty"`
		Kid string `json:"kid"`
		Use string `json:"use"`
		Alg string `json:"alg"`
		N   string `json:"n"`
		E   string `json:"e"`
	}
	r.mu.Lock()
	published := append([]signingKey{r.login, r.webhook}, r.old...)
	r.mu.Unlock()
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: make([]jwk, 0, len(published))}
	for _, k := range published {
		b64 := base64.RawURLEncoding.EncodeToString
		set.Keys = append(set.Keys, jwk{
			Kty: "RSA", Kid: k.kid, Use: "sig", Alg: "RS256",
			N: b64(k.key.N.Bytes()), E: b64(big.NewInt(int64(k.key.E)).Bytes()),
		})
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	_ = json.NewEncoder(w).Encode(set) // the client is gone
}
