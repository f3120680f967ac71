// Command embed is a team's own web server with the hub inside: webhooks arrive
// on one of its paths, its pages are for active customers and for people with
// access to the application alone, and they ask the mirror through the generated
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
	"github.com/avhub/avhub/core/mirror/access"
	"github.com/avhub/avhub/ent"
	entapp "github.com/avhub/avhub/ent/application"
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
	active := h.Access().RequireTenant(func(r *http.Request) string { return r.PathValue("slug") }, access.BySlug())
	member := h.Access().RequireAccessIn(application, person, access.TenantOf)
	mux.Handle("GET /customers/{slug}", active(customer(h.Mirror())))
	mux.Handle("GET /customers/{slug}/ledger", active(member(http.HandlerFunc(ledger))))
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

// application is this server's own id at AuthVital.
const application = "app_ledger"

// person stands for your own authentication: here a proxy in front of the server
// has proved who it is, and overwrites what a client sends in this header.
func person(r *http.Request) string { return r.Header.Get("X-Forwarded-User") }

// ledger is a page for people who may use the application as one of the tenant.
func ledger(w http.ResponseWriter, r *http.Request) {
	tenant, _ := access.TenantFrom(r.Context())
	decision, _ := access.DecisionFrom(r.Context())
	fmt.Fprintf(w, "the ledger of %s, for a person with the role %s\n", tenant.Name, decision.Role())
}

// customer answers with a tenant and its active applications: one query each,
// on the team's own database.
func customer(mirror *ent.Client) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		org, err := mirror.Organization.Query().
			Where(organization.ID(access.TenantOf(r))).
			WithApplications(func(q *ent.ApplicationQuery) { q.Where(entapp.IsActive(true)) }).
			Only(r.Context())
		switch {
		case ent.IsNotFound(err): // deleted a moment ago
			http.Error(w, "no such customer", http.StatusNotFound)
		case err != nil:
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(org) // a client that has gone away
		}
	}
}
