// Command embed is a team's own web server with the hub inside: webhooks arrive
// on one of its paths, and its pages ask the mirror through the generated
// client.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/hub"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/application"
	"github.com/avhub/avhub/ent/organization"
	"github.com/rs/zerolog"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, stop); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stop func()) (err error) {
	cfg, err := config.Load(config.Options{File: config.DefaultFile, Environ: os.Environ()})
	if err != nil {
		return err
	}
	h, err := hub.New(ctx, cfg, hub.Options{Log: zerolog.New(os.Stderr).With().Timestamp().Logger()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()

	mux := http.NewServeMux()
	mux.Handle("/webhooks/", h.Handler()) // the hub
	mux.Handle("GET /customers/{slug}", customer(h.Mirror()))
	server := &http.Server{Addr: cfg.Server.Listen, Handler: mux, ReadTimeout: 15 * time.Second}

	// The server ends first and the hub after it, so that every event that was
	// accepted gets its answer.
	hubCtx, stopHub := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	var hubErr error
	running.Go(func() { hubErr = h.Run(hubCtx) })
	running.Go(func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(grace) // what does not end in time is cut
		stopHub()
	})
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		stop()
		running.Wait()
		return err
	}
	running.Wait()
	return hubErr
}

// customer answers with a tenant and its active applications: one query each,
// on the team's own database.
func customer(mirror *ent.Client) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		org, err := mirror.Organization.Query().
			Where(organization.Slug(r.PathValue("slug"))).
			WithApplications(func(q *ent.ApplicationQuery) { q.Where(application.IsActive(true)) }).
			First(r.Context())
		switch {
		case ent.IsNotFound(err):
			http.Error(w, "no such customer", http.StatusNotFound)
		case err != nil:
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(org) // a client that has gone away
		}
	}
}
