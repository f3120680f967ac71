package plugintest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/avhub/avhub/sdk/plugin"
	"github.com/avhub/avhub/sdk/plugin/pluginpb"
	"github.com/avhub/avhub/sdk/plugin/plugintest/laws"
)

// childVar names, in a process that the kit started, the test whose connector
// it is.
const childVar = "PLUGINTEST_CONNECTOR"

// asConnector tells whether this process was started to be the connector of a
// test.
func asConnector(test string) bool { return os.Getenv(childVar) == test }

// process is a life of a connector as a process: this very test binary, which
// runs the test again until it gets to Run.
type process struct {
	cmd    *exec.Cmd
	conn   *grpc.ClientConn
	leash  io.Closer
	dir    string
	log    text
	exited chan struct{}
	exit   error
	once   sync.Once
}

const (
	startWithin = 30 * time.Second
	certificate = time.Hour
)

// startProcess starts the connector of a test as a hub starts one: by the
// protocol's handshake, with TLS on both sides.
func startProcess(ctx context.Context, test string) (laws.Life, error) {
	cert, pemText, err := newCertificate()
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	p := &process{exited: make(chan struct{})}
	// The path of a socket must be short.
	if p.dir, err = os.MkdirTemp("", "pt"); err != nil {
		return nil, fmt.Errorf("making a folder for the socket: %w", err)
	}
	var pattern []string
	for part := range strings.SplitSeq(test, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the test binary: %w", err)
	}
	p.cmd = exec.Command(self, "-test.run="+strings.Join(pattern, "/"), "-test.count=1")
	p.cmd.Env = append(os.Environ(), childVar+"="+test, plugin.MagicCookieKey+"="+plugin.MagicCookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR="+p.dir, "PLUGIN_CLIENT_CERT="+pemText,
		"PLUGIN_MIN_PORT=10000", "PLUGIN_MAX_PORT=25000")
	p.cmd.Stderr = &p.log
	leash, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.leash = leash
	stdout, lines := io.Pipe()
	p.cmd.Stdout = lines
	if err := p.cmd.Start(); err != nil {
		_ = os.RemoveAll(p.dir)
		return nil, fmt.Errorf("starting the test binary as a connector: %w", err)
	}
	go func() {
		p.exit = p.cmd.Wait()
		_ = lines.Close()
		close(p.exited)
	}()
	line, err := handshake(ctx, stdout)
	go func() { _, _ = io.Copy(&p.log, stdout) }()
	if err == nil {
		err = p.dial(line, cert)
	}
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("starting the test binary as a connector: %w; it said: %s", err, p.log.String())
	}
	return p, nil
}

// handshake reads lines until one is the handshake's.
func handshake(ctx context.Context, stdout io.Reader) ([]string, error) {
	type found struct {
		parts []string
		err   error
	}
	ch := make(chan found, 1)
	go func() {
		r := bufio.NewReader(stdout)
		for {
			line, err := r.ReadString('\n')
			if parts := strings.Split(strings.TrimSpace(line), "|"); len(parts) == 6 || len(parts) == 7 {
				ch <- found{parts, nil}
				return
			}
			if err != nil {
				ch <- found{nil, errors.New("it ended without a handshake: does the test call plugintest.Run before anything that ends the process?")}
				return
			}
		}
	}()
	select {
	case f := <-ch:
		return f.parts, f.err
	case <-time.After(startWithin):
		return nil, fmt.Errorf("no handshake within %v: what the test does before plugintest.Run is done in this process, too", startWithin)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p *process) dial(line []string, cert tls.Certificate) error {
	der, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(line[5], "="))
	if err != nil {
		return fmt.Errorf("reading the connector's certificate: %w", err)
	}
	theirs, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("reading the connector's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(theirs)
	tlsConfig := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	network, addr := line[2], line[3]
	p.conn, err = grpc.NewClient("passthrough:///connector", grpc.WithTransportCredentials(credentials.NewTLS(tlsConfig)), dialOptions(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		}))
	return err
}

func (p *process) Client() pluginpb.ConnectorClient { return pluginpb.NewConnectorClient(p.conn) }
func (p *process) Log() string                      { return p.log.String() }
func (p *process) Leaks() []string                  { return nil } // they end with it

// Kill ends the process by SIGKILL.
func (p *process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
	p.release()
}

// Stop lets go of the leash, as a hub that ends does.
func (p *process) Stop() error {
	_ = p.leash.Close()
	select {
	case <-p.exited:
	case <-time.After(stopWithin):
		p.Kill()
		return fmt.Errorf("its process was still there %v after the end of its standard input", stopWithin)
	}
	p.release()
	if p.exit != nil {
		return fmt.Errorf("its process ended with %w", p.exit)
	}
	return nil
}

func (p *process) release() {
	p.once.Do(func() {
		if p.conn != nil {
			_ = p.conn.Close()
		}
		_ = os.RemoveAll(p.dir)
	})
}

// newCertificate is the hub's side of the handshake.
func newCertificate() (tls.Certificate, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-certificate), NotAfter: time.Now().Add(24 * certificate), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, "", err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}
