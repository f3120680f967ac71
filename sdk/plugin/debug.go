package plugin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// A connector that a person started with its verb debug waits in a folder, for
// its owner alone, and a hub finds there how to reach it.
const (
	// DebugSocket is the unix socket in that folder.
	DebugSocket = "socket"
	// DebugKeys is the file in it that holds the keys for the socket, as JSON of
	// DebugTLS. It is there once the socket is, and is another at every start.
	DebugKeys = "keys.json"
)

// DebugTLS are the keys with which both sides of a debug socket know each other,
// as PEM.
type DebugTLS struct {
	ServerCert string `json:"server_cert"`
	ClientCert string `json:"client_cert"`
	ClientKey  string `json:"client_key"`
}

// maxDebugSocket is what a unix socket's path may have on every system.
const maxDebugSocket = 103

// debugDir is where a connector waits unless told otherwise: always the same
// place, so that a hub's configuration can name it for good.
func debugDir(name string) string {
	return filepath.Join(os.TempDir(), "avhub-debug-"+strconv.Itoa(os.Getuid()), name)
}

// debug serves until ctx ends, for hubs that attach.
func (p Plugin[C, S]) debug(ctx context.Context, dir string, stdout, stderr io.Writer) error {
	srv, err := newServer(p, stderr)
	if err != nil {
		return err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("making the folder to wait in: %w", err)
	}
	socket := filepath.Join(dir, DebugSocket)
	if len(socket) > maxDebugSocket {
		return fmt.Errorf("making the socket: its path %s has %d bytes, and %d are possible: name a shorter folder with --dir", socket, len(socket), maxDebugSocket)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder to wait in: %w", err)
	}
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a folder that only its owner can enter: chmod 700 it, or name another one with --dir", dir)
	}
	if conn, err := net.Dial("unix", socket); err == nil {
		_ = conn.Close()
		return fmt.Errorf("another connector waits in %s already: end it, or name another folder with --dir", dir)
	}
	keys, serverTLS, err := newDebugTLS()
	if err != nil {
		return fmt.Errorf("making the keys of the socket: %w", err)
	}
	// What one that was killed left.
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("making the socket: %w", err)
	}
	lis, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("making the socket: %w", err)
	}
	if err := writeDebugKeys(dir, keys); err != nil {
		_ = lis.Close()
		return err
	}
	defer os.Remove(filepath.Join(dir, DebugKeys))

	fmt.Fprintf(stdout, "%[1]s %[2]s waits for a hub to attach. Beside its command in the hub's configuration, write\n\n"+
		"    attach: %[3]s\n\nCtrl-C ends it. A hub that has attached waits for it to come back.\n", p.Info.Name, p.Info.Version, dir)
	g := newGRPCServer([]grpc.ServerOption{grpc.Creds(credentials.NewTLS(serverTLS))})
	return serveOn(ctx, g, srv, lis)
}

// serveOn serves the connector on a listener until ctx ends, and then drains it.
func serveOn[C, S any](ctx context.Context, g *grpc.Server, srv *server[C, S], lis net.Listener) error {
	pluginpb.RegisterConnectorServer(g, srv)
	h := health.NewServer()
	h.SetServingStatus(goplugin.GRPCServiceName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(g, h)

	served := make(chan error, 1)
	go func() { served <- g.Serve(lis) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving the connector: %w", err)
	case <-ctx.Done():
	}
	err := srv.drain(context.WithoutCancel(ctx), orphanDrain)
	g.Stop()
	<-served
	return err
}

func writeDebugKeys(dir string, keys DebugTLS) error {
	text, err := json.Marshal(keys)
	if err != nil {
		return fmt.Errorf("writing the keys of the socket: %w", err)
	}
	tmp, err := os.CreateTemp(dir, "."+DebugKeys+"-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("writing the keys of the socket: %w", err)
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, DebugKeys))
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("writing the keys of the socket: %w", err)
	}
	return nil
}

// newDebugTLS makes keys for both sides, each of which knows the other's.
func newDebugTLS() (DebugTLS, *tls.Config, error) {
	serverCert, serverKey, err := selfSigned()
	if err != nil {
		return DebugTLS{}, nil, err
	}
	clientCert, clientKey, err := selfSigned()
	if err != nil {
		return DebugTLS{}, nil, err
	}
	pair, err := tls.X509KeyPair(serverCert, serverKey)
	if err != nil {
		return DebugTLS{}, nil, err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(clientCert)
	return DebugTLS{string(serverCert), string(clientCert), string(clientKey)}, &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		MinVersion: tls.VersionTLS13,
	}, nil
}

// ClientConfig is the hub's side of the socket's TLS.
func (d DebugTLS) ClientConfig() (*tls.Config, error) {
	pair, err := tls.X509KeyPair([]byte(d.ClientCert), []byte(d.ClientKey))
	if err != nil {
		return nil, err
	}
	servers := x509.NewCertPool()
	if !servers.AppendCertsFromPEM([]byte(d.ServerCert)) {
		return nil, errors.New("there is no certificate of the connector")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: servers, ServerName: "localhost", MinVersion: tls.VersionTLS13,
	}, nil
}

func selfSigned() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: now.Add(-time.Minute), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), nil
}
