package hub

import (
	"context"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// TenantDatabases returns the tenants' own databases that the configuration
// asks for, nil if it asks for none. Verbs use it beside a running hub; the
// registerer may be nil.
func TenantDatabases(cfg *config.Config, st *store.Store, j *journal.Journal, log zerolog.Logger, reg prometheus.Registerer) (*isolated.Databases, error) {
	t := cfg.Mirror.Tenants
	if t.Mode != "isolated" {
		return nil, nil
	}
	return isolated.New(isolated.Config{
		URL: t.URL, MaxOpen: t.MaxOpen, Drop: t.OnDelete == "drop", Manual: cfg.Storage.Migrate == "manual",
	}, isolated.Deps{
		Store: st, HubURL: cfg.Storage.URL, Journal: spans{j}, Mirror: mirrorOptions(cfg, log), Log: log, Registerer: reg,
	})
}

// spans lets tenants' databases read the journal.
type spans struct{ journal *journal.Journal }

func (s spans) Read(ctx context.Context, span isolated.Span) ([]*event.Event, error) {
	q := journal.Query{After: span.After, Until: span.Until, Limit: span.Limit, MaxBytes: span.MaxBytes}
	lane := journal.TenantLane
	switch {
	case span.Key != "":
		q.Lane, q.Key = &lane, span.Key
	case span.Subject != "":
		lane = journal.SubjectLane
		q.Lane, q.Key = &lane, span.Subject
	}
	if span.Type != "" {
		q.Types = []string{span.Type}
	}
	return s.journal.Read(ctx, q)
}

func (s spans) Wake() <-chan struct{} { return s.journal.Wake() }

// TenantMirror is the client for queries of a tenant's own database, where
// mirror.tenants.mode is isolated. Call release when done with it: until then the
// database stays open, and at most mirror.tenants.max_open are.
// isolated.ErrNoDatabase tells that the tenant has none (yet).
func (h *Hub) TenantMirror(ctx context.Context, tenantID string) (client *ent.Client, release func(), err error) {
	if h.tenants == nil {
		return nil, nil, isolated.ErrNoDatabase
	}
	return h.tenants.Mirror(ctx, tenantID)
}
