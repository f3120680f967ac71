package plugin

import (
	"context"
	"io"
	"sync"
)

// session is one configuration in force: the connector that Open made of it,
// and the calls that are using it.
type session[S any] struct {
	conn Connector[S]
	cfg  any // for masking its secrets as long as it may still be quoted

	// ctx ends when calls must be cut short, at the end of a drain.
	ctx    context.Context
	cancel context.CancelFunc

	// retired is closed when no new event may start.
	retired chan struct{}
	// idle is closed when it is retired and no call is using it any more.
	idle chan struct{}

	mu        sync.Mutex
	users     int
	isRetired bool
	closeOnce sync.Once
	closeErr  error
	closed    chan struct{} // closed after Close
}

func newSession[S any](conn Connector[S], cfg any) *session[S] {
	ctx, cancel := context.WithCancel(context.Background())
	return &session[S]{
		conn: conn, cfg: cfg, ctx: ctx, cancel: cancel,
		retired: make(chan struct{}), idle: make(chan struct{}), closed: make(chan struct{}),
	}
}

// use keeps the session open until done; false if it is retired.
func (s *session[S]) use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isRetired {
		return false
	}
	s.users++
	return true
}

func (s *session[S]) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	if s.isRetired && s.users == 0 {
		close(s.idle)
	}
}

// retire lets no new event start. It may be called again, and reports whether
// this was the first time.
func (s *session[S]) retire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isRetired {
		return false
	}
	s.isRetired = true
	close(s.retired)
	if s.users == 0 {
		close(s.idle)
	}
	return true
}

// close calls the connector's Close, once, if it has one.
func (s *session[S]) close() error {
	s.closeOnce.Do(func() {
		defer close(s.closed)
		s.cancel()
		if c, ok := s.conn.(io.Closer); ok {
			s.closeErr = guard(func() error { return c.Close() })
		}
	})
	return s.closeErr
}
