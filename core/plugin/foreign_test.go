package plugin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
)

// foreign is a connector made only of what docs/protocol.md says, with neither
// the SDK nor go-plugin's server: what an author in another language writes.
type foreign struct {
	pluginpb.UnimplementedConnectorServer
}

func (foreign) Describe(context.Context, *pluginpb.DescribeRequest) (*pluginpb.DescribeResponse, error) {
	return &pluginpb.DescribeResponse{Name: "foreign", Version: "0", Order: pluginpb.Order_ORDER_TOTAL, Events: []string{"*"}}, nil
}

func (foreign) Configure(context.Context, *pluginpb.ConfigureRequest) (*pluginpb.ConfigureResponse, error) {
	return &pluginpb.ConfigureResponse{}, nil
}

func (foreign) Deliver(_ context.Context, req *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	resp := &pluginpb.DeliverResponse{}
	for _, ev := range req.GetEvents() {
		resp.Verdicts = append(resp.Verdicts, &pluginpb.Verdict{Position: ev.GetPosition(), Kind: pluginpb.Verdict_KIND_APPLIED})
	}
	return resp, nil
}

func (foreign) Drain(context.Context, *pluginpb.DrainRequest) (*pluginpb.DrainResponse, error) {
	return &pluginpb.DrainResponse{}, nil
}

func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// pensive never gets around to telling who it is.
type pensive struct{ foreign }

func (pensive) Describe(context.Context, *pluginpb.DescribeRequest) (*pluginpb.DescribeResponse, error) {
	select {}
}

// bloated answers with more than anybody wants to hold in memory.
type bloated struct{ foreign }

func (bloated) Deliver(context.Context, *pluginpb.DeliverRequest) (*pluginpb.DeliverResponse, error) {
	return &pluginpb.DeliverResponse{States: map[string][]byte{"a": make([]byte, plugin.MaxMessageBytes)}}, nil
}

func foreignMain(watchStdin bool, service pluginpb.ConnectorServer) error {
	cert, err := newCertificate()
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM([]byte(os.Getenv("PLUGIN_CLIENT_CERT")))
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients, MinVersion: tls.VersionTLS12,
	})))
	pluginpb.RegisterConnectorServer(g, service)
	h := health.NewServer()
	h.SetServingStatus("plugin", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(g, h)
	lis, err := net.Listen("unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "socket"))
	if err != nil {
		return err
	}
	if watchStdin {
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); os.Exit(0) }()
	}
	fmt.Printf("1|1|unix|%s|grpc|%s\n", lis.Addr(), base64.RawStdEncoding.EncodeToString(cert.Certificate[0]))
	return g.Serve(lis)
}

func TestAConnectorNeedsOnlyWhatTheProtocolPageSays(t *testing.T) {
	t.Parallel()
	spec, traces := testSpec(t, "foreign")
	r := run(t, spec, traces, quick())
	if got := r.deliver(t, "a:x", "b:y").GetVerdicts(); len(got) != 2 || got[1].GetKind() != pluginpb.Verdict_KIND_APPLIED {
		t.Errorf("%v", got)
	}
	if info, ok := r.Info(); !ok || info.Name != "foreign" || info.Order != Total {
		t.Errorf("%+v", info)
	}
	r.stop()
	if left, _ := os.ReadDir(r.runDir); len(left) != 0 {
		t.Errorf("left in the socket folder: %v", left)
	}
}

func TestNobodyElseCanTalkToAConnector(t *testing.T) {
	t.Parallel()
	r := running(t)
	socket, err := filepath.Glob(filepath.Join(r.runDir, "*", "*", "*", "plugin*"))
	if err != nil || len(socket) != 1 {
		t.Fatalf("sockets: %v %v", socket, err)
	}
	for name, creds := range map[string]credentials.TransportCredentials{
		"in the clear":                 insecure.NewCredentials(),
		"without a certificate":        credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}),
		"with a certificate of others": credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{selfSigned(t)}}),
	} {
		conn, err := grpc.NewClient("unix:"+socket[0], grpc.WithTransportCredentials(creds))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if resp, err := pluginpb.NewConnectorClient(conn).Describe(ctx, &pluginpb.DescribeRequest{}); err == nil {
			t.Errorf("%s: %v", name, resp)
		}
		cancel()
		_ = conn.Close()
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	cert, err := newCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
