package plugin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// hubKeys are what one connection to a connector is secured with on the hub's
// side. The connector answers with its own certificate in the handshake.
type hubKeys struct {
	tls *tls.Config
	env string // the variable that tells the connector which client to accept
}

// newKeys makes a key and a certificate for one start. The library would make
// them on the curve P-521, which not every TLS library speaks that gRPC is built
// with elsewhere: BoringSSL and older builds of gRPC for Python, Ruby and PHP
// take P-256 alone.
func newKeys() (hubKeys, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return hubKeys{}, fmt.Errorf("making a key for the connection to the plugin: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return hubKeys{}, fmt.Errorf("making a certificate for the connection to the plugin: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		// Connections are made anew at any time in the life of the process.
		NotBefore: now.Add(-time.Minute), NotAfter: now.AddDate(30, 0, 0),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return hubKeys{}, fmt.Errorf("making a certificate for the connection to the plugin: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return hubKeys{
		// The library adds the connector's certificate as the only authority.
		tls: &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			ClientAuth:   tls.RequireAndVerifyClientCert, ServerName: "localhost", MinVersion: tls.VersionTLS12,
		},
		env: "PLUGIN_CLIENT_CERT=" + string(text),
	}, nil
}
