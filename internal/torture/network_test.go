package torture

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a hub and its database. It can refuse, or let nothing
// through any more, as a cut cable does.
type proxy struct {
	address string
	target  string // of a unix socket

	mu    sync.Mutex
	conns map[net.Conn]bool
	gate  chan struct{} // closed: open; else nothing passes
	deny  bool
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: ln.Addr().String(), target: target, conns: map[net.Conn]bool{}, gate: make(chan struct{})}
	close(p.gate)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		p.open()
		p.cut()
		serving.Wait()
	})
	return p
}

func (p *proxy) serve(conn net.Conn) {
	defer conn.Close()
	p.mu.Lock()
	deny := p.deny
	p.mu.Unlock()
	if deny {
		return
	}
	var dialer net.Dialer
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	other, err := dialer.DialContext(ctx, "unix", p.target)
	if err != nil {
		return
	}
	defer other.Close()
	p.mu.Lock()
	p.conns[conn], p.conns[other] = true, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, conn)
		delete(p.conns, other)
	}()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{conn, other}, {other, conn}} {
		both.Go(func() {
			p.copy(way[1], way[0])
			_, _ = conn.Close(), other.Close() // one that ends, ends both
		})
	}
	both.Wait()
}

func (p *proxy) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			gate := p.gate
			p.mu.Unlock()
			<-gate
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// freeze lets nothing through until open.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
		p.gate = make(chan struct{})
	default: // it is frozen
	}
}

// refuse ends all connections, and takes none until open.
func (p *proxy) refuse() {
	p.mu.Lock()
	p.deny = true
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deny = false
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

// cut ends the connections that there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

// balancer hands requests to one hub after the other. It knows nothing of their
// health.
func (r *rig) balancer() string {
	r.t.Helper()
	hubs := r.hubs
	var next atomic.Int64
	lb := &httputil.ReverseProxy{
		Transport: r.transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http"
			r.Out.URL.Host = hubs[int(next.Add(1))%len(hubs)].address
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	server := httptest.NewServer(lb)
	r.t.Cleanup(server.Close)
	return server.URL
}
