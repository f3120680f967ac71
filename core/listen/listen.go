// Package listen opens the hub's HTTP listeners, the public one and the admin
// one, with the limits that keep strangers from using up a process: times for
// every phase of a request, the size of headers, and the number of connections.
//
// It is ground floor: it knows HTTP and nothing else of avhub.
package listen

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"
)

// The limits of every listener. Together they bound what one connection can
// cost; Options.MaxConnections bounds how many there are.
const (
	// ReadHeaderTimeout is how long a client may take for the request's header.
	ReadHeaderTimeout = 5 * time.Second
	// ReadTimeout is how long a client may take for the whole request.
	ReadTimeout = 15 * time.Second
	// WriteTimeout runs from the end of the header to the end of the answer. It
	// is longer than everything a webhook may wait for in turn: 10 s for a key
	// set, ReadTimeout for the body and 30 s for the journal. A handler that
	// streams lifts it with http.ResponseController.SetWriteDeadline.
	WriteTimeout = 60 * time.Second
	// IdleTimeout is how long a kept-alive connection may rest between requests.
	IdleTimeout = 120 * time.Second
	// MaxHeaderBytes bounds the request line and the header.
	MaxHeaderBytes = 32 << 10
	// ShutdownGrace is how long requests in flight may take to end once the
	// server is told to stop.
	ShutdownGrace = 8 * time.Second
)

// Options says what to open.
type Options struct {
	// Addr is host:port. Port 0 takes a free one; see Server.Addr.
	Addr string
	// MaxConnections is the number of connections served at a time; at least 1.
	// Connections beyond it wait in the kernel's queue until one ends.
	MaxConnections int
	Handler        http.Handler
	// Log gets what net/http itself has to say, such as a failing accept.
	Log zerolog.Logger
}

// Server is an open listener with its HTTP server.
type Server struct {
	ln   net.Listener
	http *http.Server
}

// Open binds the address, so that a port in use is found at start, before
// anything else runs. Requests are answered once Serve is called.
func Open(ctx context.Context, opts Options) (*Server, error) {
	if opts.MaxConnections < 1 {
		return nil, fmt.Errorf("listening on %s: the number of connections is %d; it must be at least 1", opts.Addr, opts.MaxConnections)
	}
	if opts.Handler == nil {
		return nil, fmt.Errorf("listening on %s: there is no handler to answer requests", opts.Addr)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w; choose another address or stop what holds this one", opts.Addr, err)
	}
	return &Server{
		ln:   netutil.LimitListener(ln, opts.MaxConnections),
		http: newHTTPServer(opts.Handler, opts.Log),
	}, nil
}

// Addr is the address that is bound.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Serve answers requests until ctx ends, then takes no new ones, lets those in
// flight end for up to ShutdownGrace, and returns nil. The requests' contexts
// end with ctx, so what only waits stops waiting. An error means that the
// server could not go on, or that requests had to be cut off.
func (s *Server) Serve(ctx context.Context) error {
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving HTTP on %s: %w", s.ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), ShutdownGrace)
	defer cancel()
	if err := s.http.Shutdown(grace); err != nil {
		return errors.Join(fmt.Errorf("ending requests on %s: %w", s.ln.Addr(), err), s.http.Close())
	}
	return nil
}

// Close gives the address back without having served. After Serve it does nothing.
func (s *Server) Close() error {
	if err := s.ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing the listener on %s: %w", s.ln.Addr(), err)
	}
	return nil
}

func newHTTPServer(h http.Handler, log zerolog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: ReadHeaderTimeout,
		ReadTimeout:       ReadTimeout,
		WriteTimeout:      WriteTimeout,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    MaxHeaderBytes,
		ErrorLog:          stdlog.New(errorLog{log}, "", 0),
	}
}

// errorLog passes net/http's own lines on.
type errorLog struct{ log zerolog.Logger }

func (l errorLog) Write(p []byte) (int, error) {
	l.log.Warn().Str("detail", strings.TrimSpace(string(p))).Msg("HTTP server")
	return len(p), nil
}
