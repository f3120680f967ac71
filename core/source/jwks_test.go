package source_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/source"
)

func with(jwk map[string]any, name string, value any) map[string]any {
	if value == nil {
		delete(jwk, name)
	} else {
		jwk[name] = value
	}
	return jwk
}

func ecKey(t *testing.T, kid string) map[string]any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return map[string]any{"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(point[1:33]), "y": b64(point[33:])}
}

// TestOnlySuitableKeysOpenTheDoor signs genuinely with keys that the provider
// publishes; what decides is whether the key may vouch for webhooks.
func TestOnlySuitableKeysOpenTheDoor(t *testing.T) {
	t.Parallel()
	b64 := base64.RawURLEncoding.EncodeToString
	secret := map[string]any{"kty": "oct", "kid": "k", "k": b64([]byte("a secret of some length, 32 bytes"))}
	for _, row := range []struct {
		name string
		jwk  map[string]any
		code int
	}{
		{"as the provider writes it", jwkOf("k", signingKey()), 200},
		{"without alg and use", with(with(jwkOf("k", signingKey()), "alg", nil), "use", nil), 200},
		{"with key_ops and a certificate's thumbprint", with(with(jwkOf("k", signingKey()), "key_ops", []string{"verify"}), "x5t", "AAAA"), 200},
		{"with unknown members", with(jwkOf("k", signingKey()), "color", map[string]any{"deep": 1}), 200},
		{"for encryption", with(jwkOf("k", signingKey()), "use", "enc"), 401},
		{"for PS256", with(jwkOf("k", signingKey()), "alg", "PS256"), 401},
		{"for RS512", with(jwkOf("k", signingKey()), "alg", "RS512"), 401},
		{"for HS256", with(jwkOf("k", signingKey()), "alg", "HS256"), 401},
		{"for none", with(jwkOf("k", signingKey()), "alg", "none"), 401},
		{"without a kid", with(jwkOf("k", signingKey()), "kid", nil), 401},
		{"with an empty kid", with(jwkOf("k", signingKey()), "kid", ""), 401},
		{"with a number as kid", with(jwkOf("k", signingKey()), "kid", 7), 401},
		{"of 1024 bits", jwkOf("k", shortKey()), 401},
		{"with exponent 1", with(jwkOf("k", signingKey()), "e", b64([]byte{1})), 401},
		{"with an even exponent", with(jwkOf("k", signingKey()), "e", b64([]byte{2})), 401},
		{"with an endless exponent", with(jwkOf("k", signingKey()), "e", b64([]byte{1, 0, 0, 0, 0, 0, 1, 0, 1})), 401},
		{"with an even modulus", with(jwkOf("k", signingKey()), "n", b64(append(signingKey().N.Bytes()[:255], 2))), 401},
		{"of 16384 bits", with(jwkOf("k", signingKey()), "n", b64([]byte(strings.Repeat("\xff", 2048)))), 401},
		{"without a modulus", with(jwkOf("k", signingKey()), "n", nil), 401},
		{"that is private", with(jwkOf("k", signingKey()), "d", b64(signingKey().D.Bytes())), 401},
		{"that is elliptic", ecKey(t, "k"), 401},
		{"that is symmetric", secret, 401},
		{"that is no object", nil, 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			// A usable key beside it proves that one bad key does not spoil the set.
			b := setup(t, newProvider(t, row.jwk, jwkOf("good", otherKey())))
			key := signingKey()
			if row.name == "of 1024 bits" {
				key = shortKey()
			}
			if a := send(t, webhook(t, b.url, key, "k", webhookBody)); a.code != row.code {
				t.Errorf("got %d: %s", a.code, a.raw)
			}
			if a := send(t, webhook(t, b.url, otherKey(), "good", webhookBody)); a.code != 200 {
				t.Errorf("the good key beside it: %d: %s", a.code, a.raw)
			}
		})
	}
}

func TestABrokenProviderIsTheHubsTrouble(t *testing.T) {
	t.Parallel()
	one, err := json.Marshal(map[string]any{"keys": []any{jwkOf("k", signingKey())}})
	if err != nil {
		t.Fatal(err)
	}
	plain := newProvider(t, jwkOf("k", signingKey()))
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, broken := range map[string]http.HandlerFunc{
		"500":               text(500, "oops"),
		"404":               text(404, string(one)),
		"204":               text(204, ""),
		"206":               text(206, string(one)),
		"an empty body":     text(200, ""),
		"HTML":              text(200, "<html>captive portal</html>"),
		"an array":          text(200, "["+string(one)+"]"),
		"half a set":        text(200, string(one[:len(one)/2])),
		"two sets":          text(200, string(one)+string(one)),
		"no keys":           text(200, `{}`),
		"an empty list":     text(200, `{"keys":[]}`),
		"keys are a string": text(200, `{"keys":"none"}`),
		"only short keys":   text(200, fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"k","e":"AQAB","n":%q}]}`, jwkOf("k", shortKey())["n"])),
		"too large":         text(200, `{"pad":"`+strings.Repeat("x", 1<<20)+`",`+string(one[1:])),
		"deep nesting":      text(200, strings.Repeat(`{"keys":[`, 100_000)),
		"a redirect to http": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, plain.url, http.StatusFound) // where a good set lies
		},
		"a torn connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a torn body": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(one)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			p.breakWith(broken)
			b := setup(t, p)
			send(t, webhook(t, b.url, signingKey(), "k", webhookBody)).want(t, 503, source.ReasonKeySetDown)
			// While it is left alone, requests are answered without another fetch.
			before := p.fetched()
			send(t, webhook(t, b.url, signingKey(), "k", webhookBody)).want(t, 503, source.ReasonKeySetDown)
			if p.fetched() > before+1 { // a slow machine may have passed the first pause
				t.Errorf("%d fetches after the failure", p.fetched()-before)
			}
			if b.KeySet().Err == nil || b.KeySet().Keys != 0 {
				t.Errorf("status %+v", b.KeySet())
			}
			if strings.Contains(b.log.String(), "captive portal") {
				t.Error("the answer's body was logged")
			}
		})
	}
}

func TestKeysHeldKeepWorkingWhileTheProviderIsDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t, jwkOf("k1", signingKey()))
	b := setup(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	eventually(t, func() bool { return b.KeySet().Keys == 1 })
	p.breakWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })

	send(t, webhook(t, b.url, signingKey(), "k2", webhookBody)).want(t, 503, source.ReasonKeySetDown)
	if a := send(t, webhook(t, b.url, signingKey(), "k1", webhookBody)); a.code != 200 {
		t.Errorf("a held key during the outage: %+v", a)
	}
	if p.fetched() < 2 {
		t.Error("the outage was never met")
	}
	cancel()
	wg.Wait()
	// Shut down: what is held still opens, what is not invites to come again.
	send(t, webhook(t, b.url, signingKey(), "k3", webhookBody)).want(t, 503, source.ReasonShuttingDown)
	if a := send(t, webhook(t, b.url, signingKey(), "k1", webhookBody)); a.code != 200 {
		t.Errorf("a held key after the end: %+v", a)
	}
}

func TestARotatedKeyWorksAtOnceAndARemovedOneNoMore(t *testing.T) {
	t.Parallel()
	p := newProvider(t, jwkOf("k1", signingKey()))
	b := setup(t, p)
	if a := send(t, webhook(t, b.url, signingKey(), "k1", webhookBody)); a.code != 200 {
		t.Fatalf("%+v", a)
	}
	p.publish(jwkOf("k1", signingKey()), jwkOf("k2", otherKey()))
	if a := send(t, webhook(t, b.url, otherKey(), "k2", webhookBody)); a.code != 200 {
		t.Errorf("the new key: %+v", a)
	}
	if a := send(t, webhook(t, b.url, signingKey(), "k1", webhookBody)); a.code != 200 {
		t.Errorf("the old key beside it: %+v", a)
	}
	p.publish(jwkOf("k2", otherKey()))
	send(t, webhook(t, b.url, otherKey(), "junk", webhookBody)).want(t, 401, source.ReasonUnknownKey) // causes a refresh
	send(t, webhook(t, b.url, signingKey(), "k1", webhookBody)).want(t, 401, source.ReasonUnknownKey)
	if got := p.headers.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("the set was asked for with Cache-Control %q", got)
	}
}

func TestRedirectsAreFollowedToHTTPSOnlyAndThreeTimes(t *testing.T) {
	t.Parallel()
	for hops, code := range map[int]int{0: 200, 3: 200, 4: 503} {
		t.Run(fmt.Sprint(hops), func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, jwkOf("k", signingKey()))
			secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var n int
				if _, err := fmt.Sscanf(r.URL.Path, "/hop/%d", &n); err != nil || n == 0 {
					p.ServeHTTP(w, r)
					return
				}
				http.Redirect(w, r, fmt.Sprintf("/hop/%d", n-1), http.StatusFound)
			}))
			t.Cleanup(secure.Close)
			b := setup(t, p, func(c *source.Config, d *source.Deps, _ *http.Server) {
				c.Host, c.JWKSURL = "", fmt.Sprintf("%s/hop/%d", secure.URL, hops)
				d.Client = secure.Client()
			})
			if a := send(t, webhook(t, b.url, signingKey(), "k", webhookBody)); a.code != code {
				t.Errorf("%d redirects: %d %s", hops, a.code, a.raw)
			}
		})
	}
}

func TestNewNamesTheFault(t *testing.T) {
	t.Parallel()
	good := source.Config{Name: "a", Host: "https://auth.example.com/", MaxAge: time.Minute, MaxBody: 1}
	deps := source.Deps{Journal: &memory{}}
	s, err := source.New(good, deps)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.KeySet().URL; got != "https://auth.example.com/.well-known/jwks.json" {
		t.Errorf("key set at %s", got)
	}
	for want, edit := range map[string]func(*source.Config, *source.Deps){
		"name":        func(c *source.Config, _ *source.Deps) { c.Name = "" },
		"journal":     func(_ *source.Config, d *source.Deps) { d.Journal = nil },
		"max_age":     func(c *source.Config, _ *source.Deps) { c.MaxAge = 0 },
		"max_ahead":   func(c *source.Config, _ *source.Deps) { c.MaxAhead = -1 },
		"max_body":    func(c *source.Config, _ *source.Deps) { c.MaxBody = 0 },
		"jwks_url":    func(c *source.Config, _ *source.Deps) { c.Host = "" },
		"absolute":    func(c *source.Config, _ *source.Deps) { c.Host = "auth.example.com" },
		"credentials": func(c *source.Config, _ *source.Deps) { c.Host = "https://u:hunter2@auth.example.com" },
	} {
		c, d := good, deps
		edit(&c, &d)
		if _, err := source.New(c, d); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// eventually polls until a condition holds.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about in 20 s")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
