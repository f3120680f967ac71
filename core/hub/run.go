package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/avhub/avhub/core/listen"
)

// Run works until ctx ends: it commits what the handlers take in, keeps the key
// sets fresh, runs the plugins and delivers to them. When ctx ends, deliveries
// in flight finish, the plugins are drained, and what waits for the journal is
// committed; that takes 20 seconds at most. Handlers that are still called then
// answer 503.
//
// Run returns when all of that is done. Call it once. On SQLite it fails at once,
// with store.ErrNotAlone, if another hub works on the same file.
func (h *Hub) Run(ctx context.Context) error {
	if err := h.beAlone(); err != nil {
		return err
	}
	nothing := make(chan struct{})
	close(nothing)
	h.run(ctx, nothing)
	return nil
}

// run is Run for a journal that goes on until answered is closed.
func (h *Hub) run(ctx context.Context, answered <-chan struct{}) {
	// The journal goes last: it answers for requests that came before the end.
	journalCtx, stopJournal := context.WithCancel(context.WithoutCancel(ctx))
	defer stopJournal()
	var journalDone sync.WaitGroup
	journalDone.Go(func() { h.journal.Run(journalCtx) })

	var parts sync.WaitGroup
	for _, s := range h.sources {
		parts.Go(func() {
			if err := s.Run(ctx); err != nil && ctx.Err() == nil {
				h.log.Error().Err(err).Msg("a source stopped fetching its key set")
			}
		})
	}
	parts.Go(func() { h.sessions.Run(ctx) })
	parts.Go(func() { h.runPlugins(ctx) })
	parts.Go(func() { h.retention.Run(ctx) })
	if h.tenants != nil {
		parts.Go(func() { h.tenants.Run(ctx) })
	}
	<-ctx.Done()
	parts.Wait()
	<-answered
	stopJournal()
	journalDone.Wait()
}

// beAlone makes this the only hub on a SQLite file, until Close.
func (h *Hub) beAlone() error {
	h.aloneMu.Lock()
	defer h.aloneMu.Unlock()
	if h.alone != nil {
		return nil
	}
	release, err := h.store.Alone()
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	h.alone = release
	return nil
}

// listeners are the addresses that Serve answers on.
type listeners struct {
	public, admin *listen.Server
}

func (l listeners) close() {
	for _, s := range []*listen.Server{l.public, l.admin} {
		if s != nil {
			_ = s.Close() // it only frees an address
		}
	}
}

// Listen binds the configured addresses, so that one that is in use is an error
// at once. Serve calls it if it was not called.
func (h *Hub) Listen(ctx context.Context) error {
	if h.listeners.public != nil {
		return nil
	}
	// It says more than that the address is in use.
	if err := h.beAlone(); err != nil {
		return err
	}
	public, err := listen.Open(ctx, listen.Options{
		Addr: h.cfg.Server.Listen, Handler: h.public, MaxConnections: h.cfg.Server.MaxConnections, Log: h.log,
	})
	if err != nil {
		return fmt.Errorf("server.listen: %w", err)
	}
	adm, err := listen.Open(ctx, listen.Options{
		Addr: h.cfg.Admin.Listen, Handler: h.admin, MaxConnections: adminConnections, Log: h.log,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("admin.listen: %w", err), public.Close())
	}
	h.listeners = listeners{public, adm}
	return nil
}

const adminConnections = 64

// PublicAddr is where webhooks are answered, once Listen has succeeded.
func (h *Hub) PublicAddr() net.Addr { return h.listeners.public.Addr() }

// AdminAddr is where operators are answered, once Listen has succeeded.
func (h *Hub) AdminAddr() net.Addr { return h.listeners.admin.Addr() }

// Serve is Run with the configured listeners. When ctx ends it stops accepting
// first and answers what it has accepted.
func (h *Hub) Serve(ctx context.Context) error {
	if err := h.Listen(ctx); err != nil {
		return err
	}
	start := time.Now()
	// A listener that fails ends the rest.
	serving, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var accept, run sync.WaitGroup
	for _, s := range []*listen.Server{h.listeners.public, h.listeners.admin} {
		accept.Go(func() {
			if err := s.Serve(serving); err != nil {
				fail(fmt.Errorf("listener %s: %w", s.Addr(), err))
			}
		})
	}
	answered := make(chan struct{})
	run.Go(func() { h.run(serving, answered) })
	h.log.Info().Stringer("events", h.PublicAddr()).Stringer("admin", h.AdminAddr()).
		Int("sources", len(h.sources)).Int("plugins", h.countPlugins()).Msg("avhub is up")
	<-serving.Done()
	h.log.Info().Msg("shutting down: accepting no more, finishing what is in flight")
	begin := time.Now()
	accept.Wait()
	close(answered)
	run.Wait()
	h.log.Info().Stringer("took", time.Since(begin).Round(time.Millisecond)).Stringer("up", time.Since(start).Round(time.Second)).Msg("avhub has stopped")
	if err := context.Cause(serving); err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil {
		return err
	}
	return nil
}
