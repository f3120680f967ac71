package main

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
)

// What a hub takes from a key set.
const minKeyBits, maxKeyBits = 2048, 8192

// jwk is a public key in a key set (RFC 7517).
type jwk struct {
	Kty string `json:"kty"`
	Kid string `json:"kid"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	N   string `json:"n"`
	E   string `json:"e"`
}

// signingKey is the key that signs, under the id that the key set has it by.
type signingKey struct {
	id  string
	rsa *rsa.PrivateKey
}

// sign is RSASSA-PKCS1-v1_5 with SHA-256, in standard base64.
func (k signingKey) sign(signed []byte) (string, error) {
	sum := sha256.Sum256(signed)
	signature, err := rsa.SignPKCS1v15(nil, k.rsa, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing the event: %w", err)
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}

// readKeys returns the key that signs, and the key set with it and the old ones.
func readKeys(cfg config) (signingKey, []jwk, error) {
	private, err := parsePrivate(cfg.Key)
	if err != nil {
		return signingKey{}, nil, fmt.Errorf("reading key: %w", err)
	}
	set := []jwk{publicJWK(&private.PublicKey)}
	for i, text := range cfg.OldKeys {
		public, err := parsePublic(text)
		if err != nil {
			return signingKey{}, nil, fmt.Errorf("reading old_keys[%d]: %w", i, err)
		}
		set = append(set, publicJWK(public))
	}
	return signingKey{set[0].Kid, private}, set, nil
}

// publicJWK names a key by its thumbprint (RFC 7638), so that the same key has
// the same id everywhere and two keys never share one.
func publicJWK(key *rsa.PublicKey) jwk {
	b64 := base64.RawURLEncoding.EncodeToString
	n, e := b64(key.N.Bytes()), b64(big.NewInt(int64(key.E)).Bytes())
	sum := sha256.Sum256(fmt.Appendf(nil, `{"e":%q,"kty":"RSA","n":%q}`, e, n))
	return jwk{Kty: "RSA", Kid: b64(sum[:]), Use: "sig", Alg: "RS256", N: n, E: e}
}

var errNoPEM = errors.New("it is not PEM, which begins with -----BEGIN")

// parsePrivate reads a private key. Errors say nothing of the text.
func parsePrivate(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errNoPEM
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return nil, errors.New("it is protected by a passphrase, and nobody is there to enter it")
	}
	var parsed any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, errors.New("it is PEM, but no private key")
	}
	if err != nil {
		return nil, errors.New("its content is damaged")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("it is no RSA key")
	}
	return key, sized(&key.PublicKey)
}

// parsePublic reads a public key, or the public half of a private one.
func parsePublic(text string) (*rsa.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errNoPEM
	}
	var parsed any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		parsed, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		parsed, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		private, err := parsePrivate(text)
		if err != nil {
			return nil, err
		}
		return &private.PublicKey, nil
	}
	if err != nil {
		return nil, errors.New("its content is damaged")
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("it is no RSA key")
	}
	return key, sized(key)
}

func sized(key *rsa.PublicKey) error {
	if bits := key.N.BitLen(); bits < minKeyBits || bits > maxKeyBits {
		return fmt.Errorf("it has %d bits; it must have %d to %d", bits, minKeyBits, maxKeyBits)
	}
	return nil
}

func encodeSet(set []jwk) []byte {
	text, err := json.MarshalIndent(struct {
		Keys []jwk `json:"keys"`
	}{set}, "", "  ")
	if err != nil {
		panic(err) // strings alone
	}
	return append(text, '\n')
}

// writeKeySet replaces the file as a whole, so that a reader never sees half.
func writeKeySet(path string, set []jwk) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".jwks-*")
	if err != nil {
		return fmt.Errorf("writing the key set: %w", err)
	}
	_, err = file.Write(encodeSet(set))
	err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // what went wrong before is told
		return fmt.Errorf("writing the key set: %w", err)
	}
	return nil
}
