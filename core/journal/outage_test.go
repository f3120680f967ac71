package journal_test

import (
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/internal/pgtest"
)

// A network that swallows everything is the worst outage: nothing fails, nothing
// arrives. Senders are answered all the same, and the journal recovers.
func TestLaw6_ASilentDatabaseIsGivenUp(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t, pgtest.URL(t))
	b := setup(t, proxy.url, projector{}, journal.Options{CommitTimeout: 300 * time.Millisecond})
	if _, err := b.append(decoded(t, "s", body("before", "t", "{}"))); err != nil {
		t.Fatal(err)
	}
	proxy.hold()
	lost := decoded(t, "s", body("during", "t", "{}"))
	if r, err := b.append(lost); err == nil {
		t.Fatalf("accepted by a database that does not answer: %v", r)
	}
	proxy.release()
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := b.append(lost)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not recover: %v", err)
		}
	}
	if n := len(b.all()); n != 2 {
		t.Errorf("%d events", n)
	}
}

// proxy stands between a test and a Postgres server, and can go silent.
type proxy struct {
	url string

	mu     sync.Mutex
	silent chan struct{} // not nil while silent; closed by release
	open   []net.Conn
}

// cut ends all connections that there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.open {
		_ = conn.Close()
	}
	p.open = nil
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	network, address := "tcp", u.Host
	if dir := u.Query().Get("host"); dir != "" {
		network, address = "unix", filepath.Join(dir, ".s.PGSQL."+u.Query().Get("port"))
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	u.Host, u.RawQuery = ln.Addr().String(), "sslmode=disable"
	p := &proxy{url: u.String()}
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return // closed
			}
			server, err := net.Dial(network, address)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.open = append(p.open, client, server)
			p.mu.Unlock()
			go p.pump(client, server)
			go p.pump(server, client)
		}
	}()
	return p
}

// pump passes bytes on, unless the proxy is silent.
func (p *proxy) pump(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		silent := p.silent
		p.mu.Unlock()
		if silent != nil {
			<-silent
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = make(chan struct{})
}

func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.silent)
	p.silent = nil
}
