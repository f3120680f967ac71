package source

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

const (
	fetchTimeout  = 5 * time.Second
	maxKeySetBody = 1 << 20
	maxRedirects  = 3
	// The smallest modulus that is believed, and the largest, in bits. The upper
	// one bounds what verifying a single request can cost.
	minKeyBits = 2048
	maxKeyBits = 8192
	maxKeyID   = 512 // bytes
)

// fetchKeys reads the provider's key set (RFC 7517) over HTTP and returns the
// keys that can verify a webhook, by key id. Errors name the trouble and never
// hold anything of the answer's body.
func fetchKeys(ctx context.Context, client *http.Client, address string) (map[string]*rsa.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching the key set: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	// The provider lets caches keep its set for an hour. We ask because a key is
	// new, so a cached answer is the one that is of no use.
	req.Header.Set("Cache-Control", "no-cache")
	req.Header.Set("User-Agent", "avhub")
	resp, err := client.Do(req)
	if err != nil {
		// *url.Error repeats the address, which after a redirect is the server's
		// choice of words.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, fmt.Errorf("fetching the key set: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching the key set: the server answered %d instead of 200", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySetBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the key set: %w", err)
	}
	if len(body) > maxKeySetBody {
		return nil, fmt.Errorf("reading the key set: it is larger than %d bytes", maxKeySetBody)
	}
	return ParseKeys(body)
}

// ParseKeys picks the usable keys out of a JSON Web Key Set, as a source does that
// fetches one: those that can verify a webhook, by key id. One unusable key,
// of another kind, too short or malformed, does not spoil the set; a set
// without any usable key is an error. Of keys that share an id the first counts.
func ParseKeys(body []byte) (map[string]*rsa.PublicKey, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, errors.New("parsing the key set: it is not a JSON object with a list of keys")
	}
	keys := make(map[string]*rsa.PublicKey, len(doc.Keys))
	for _, raw := range doc.Keys {
		kid, key := usableKey(raw)
		if key == nil {
			continue
		}
		if _, taken := keys[kid]; !taken {
			keys[kid] = key
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("parsing the key set: none of its %d keys is an RSA public key of %d bits or more with a kid, meant for RS256 signatures", len(doc.Keys), minKeyBits)
	}
	return keys, nil
}

// usableKey returns a key that may verify webhooks, or nil. What a key is good
// for is pinned here, by us: an RSA public key, for signatures, by RS256.
func usableKey(raw json.RawMessage) (string, *rsa.PublicKey) {
	key, err := jwk.ParseKey(raw)
	if err != nil {
		return "", nil
	}
	// A private key that its owner publishes vouches for nothing; it has another
	// type here and drops out with the elliptic and the symmetric ones.
	pub, ok := key.(jwk.RSAPublicKey)
	if !ok {
		return "", nil
	}
	kid := key.KeyID()
	if kid == "" || len(kid) > maxKeyID || strings.ContainsFunc(kid, unicode.IsControl) {
		return "", nil
	}
	if alg := key.Algorithm().String(); alg != "" && alg != jwa.RS256.String() {
		return "", nil
	}
	if use := key.KeyUsage(); use != "" && use != jwk.ForSignature.String() {
		return "", nil
	}
	if len(pub.E()) > 4 { // Raw below would cut it
		return "", nil
	}
	var out rsa.PublicKey
	if err := pub.Raw(&out); err != nil {
		return "", nil
	}
	bits := out.N.BitLen()
	if bits < minKeyBits || bits > maxKeyBits || out.N.Bit(0) == 0 || out.E < 3 || out.E%2 == 0 {
		return "", nil
	}
	return kid, &out
}

// keyClient returns a client for key sets: a few redirects, and those only to
// https, since whoever answers for the key set decides who may speak.
func keyClient(base *http.Client) *http.Client {
	var c http.Client
	if base != nil {
		c = *base
	}
	c.Jar = nil
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if req.URL.Scheme != "https" {
			return errors.New("redirected to an address that is not https")
		}
		return nil
	}
	return &c
}
