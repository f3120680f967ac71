package hub

import (
	"context"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/journal/retention"
	"github.com/avhub/avhub/core/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Retention returns what removes old events, by the configuration. Verbs use it
// beside running hubs; the registerer may be nil.
func Retention(cfg *config.Config, st *store.Store, j *journal.Journal, log zerolog.Logger, reg prometheus.Registerer) *retention.Retention {
	names := make([]string, len(cfg.Plugins))
	for i, p := range cfg.Plugins {
		names[i] = p.Name
	}
	holders := []retention.Holder{fanout.Holds(st, names)}
	if cfg.Mirror.Tenants.Mode == "isolated" {
		holders = append(holders, holdAll)
	}
	watch := &fanout.LagWatch{
		Store: st, Log: log, Metrics: fanout.NewLagMetrics(reg),
		Limit: fanout.LagLimit{Events: cfg.Journal.MaxLag.Events, Time: cfg.Journal.MaxLag.Time},
	}
	return retention.New(
		retention.Config{Retain: time.Duration(cfg.Journal.Retain), DedupeFor: cfg.Journal.DedupeFor},
		retention.Deps{Store: st, Journal: j, Holders: holders, Before: watch.Look, Log: log, Registerer: reg})
}

// holdAll is for tenants' own databases: somebody who joins a tenant tomorrow brings
// along what was said of them years ago, and a database that is lost is made anew
// from the first event on.
func holdAll(context.Context) ([]retention.Hold, error) {
	return []retention.Hold{{
		By: "tenants' own databases", Position: 0,
		Advice: "they are made from the journal, so all of it stays while mirror.tenants.mode is isolated; journal.retain: forever says so",
	}}, nil
}
