package listen_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/avhub/avhub/core/listen"
)

// serve runs a server until the test or the returned function ends it.
func serve(t *testing.T, conns int, h http.HandlerFunc) (addr string, stop func() error) {
	t.Helper()
	s, err := listen.Open(t.Context(), listen.Options{Addr: "127.0.0.1:0", MaxConnections: conns, Handler: h, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	return s.Addr().String(), func() error {
		cancel()
		return <-ended
	}
}

func get(t *testing.T, conn net.Conn) string {
	t.Helper()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return answer(t, conn)
}

func answer(t *testing.T, conn net.Conn) string {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status + " " + string(body)
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestLaw10_ConnectionsBeyondTheLimitWait(t *testing.T) {
	t.Parallel()
	in := make(chan struct{}, 8)
	release := make(chan struct{})
	addr, stop := serve(t, 2, func(w http.ResponseWriter, _ *http.Request) {
		in <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "hello")
	})
	answers := make(chan string, 3)
	for range 3 {
		conn := dial(t, addr)
		go func() { answers <- get(t, conn) }()
	}
	<-in
	<-in
	select {
	case <-in:
		t.Error("a third connection was served beside the two that are allowed")
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	for range 3 {
		if got := <-answers; got != "200 OK hello" {
			t.Errorf("got %q", got)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestRequestsInFlightEndBeforeTheServer(t *testing.T) {
	t.Parallel()
	in := make(chan struct{})
	addr, stop := serve(t, 8, func(w http.ResponseWriter, r *http.Request) {
		close(in)
		<-r.Context().Done() // the end is announced to those who wait
		_, _ = io.WriteString(w, "done")
	})
	conn := dial(t, addr)
	got := make(chan string, 1)
	go func() { got <- get(t, conn) }()
	<-in
	if err := stop(); err != nil {
		t.Error(err)
	}
	if a := <-got; a != "200 OK done" {
		t.Errorf("the request in flight got %q", a)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
}

func TestAHeaderBeyondTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	addr, _ := serve(t, 8, func(http.ResponseWriter, *http.Request) { t.Error("it was let in") })
	conn := dial(t, addr)
	// The server hangs up before it has read all of it, so writing may fail and
	// the answer may be lost in the reset; what counts is that it is not let in.
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\nX: "+strings.Repeat("x", 2*listen.MaxHeaderBytes)+"\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %s", resp.Status)
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	ok := http.NotFoundHandler()
	first, err := listen.Open(t.Context(), listen.Options{Addr: "127.0.0.1:0", MaxConnections: 1, Handler: ok})
	if err != nil {
		t.Fatal(err)
	}
	taken := first.Addr().String()
	for want, opts := range map[string]listen.Options{
		"choose another address": {Addr: taken, MaxConnections: 1, Handler: ok},
		"at least 1":             {Addr: "127.0.0.1:0", Handler: ok},
		"no handler":             {Addr: "127.0.0.1:0", MaxConnections: 1},
	} {
		if _, err := listen.Open(t.Context(), opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	again, err := listen.Open(t.Context(), listen.Options{Addr: taken, MaxConnections: 1, Handler: ok})
	if err != nil {
		t.Fatalf("the address was not given back: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
