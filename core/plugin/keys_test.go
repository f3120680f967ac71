package plugin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

// The libraries of other languages do not take every key that Go makes.
func TestTheHubsKeyIsOneThatEveryTLSLibraryTakes(t *testing.T) {
	t.Parallel()
	one, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(one.env, "PLUGIN_CLIENT_CERT=")
	block, rest := pem.Decode([]byte(text))
	if !ok || block == nil || len(rest) > 0 {
		t.Fatalf("%q", one.env)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("a key of type %T", cert.PublicKey)
	}
	another, err := newKeys()
	if err != nil || another.env == one.env {
		t.Errorf("two starts have one certificate (%v)", err)
	}
}
