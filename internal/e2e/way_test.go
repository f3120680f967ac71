package e2e

import (
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
)

// way leads to a Postgres server, and can go silent.
type way struct {
	url string

	mu     sync.Mutex
	silent chan struct{} // not nil while silent; closed by release
}

func newWay(t *testing.T, target string) *way {
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
	u.Host, u.RawQuery = ln.Addr().String(), "sslmode=disable"
	w := &way{url: u.String()}
	t.Cleanup(func() {
		_ = ln.Close()
		w.release()
	})
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
			go w.pass(client, server)
			go w.pass(server, client)
		}
	}()
	return w
}

// pass moves bytes, unless the way is silent.
func (w *way) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		silent := w.silent
		w.mu.Unlock()
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

func (w *way) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = make(chan struct{})
}

func (w *way) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent != nil {
		close(w.silent)
		w.silent = nil
	}
}
