// Command stripe is a connector that keeps what a tenant pays in step with what
// it is: a customer in Stripe for each tenant, and a subscription for each that
// pays.
package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/avhub/avhub/sdk/plugin"
)

// version is set by the build.
var version = "dev"

func connectorPlugin() plugin.Plugin[config, state] {
	return plugin.Plugin[config, state]{Info: plugin.Info{
		Name: "stripe", Version: version, Summary: "keeps customers and subscriptions in Stripe in step with tenants, their plans and their seats",
		Events: []string{"tenant.*", "license.*", "member.*", "subject.deleted"}, Order: plugin.PerTenant,
		Coalesce: true, Counts: true, KeepsHistory: true,
	}, Open: open}
}

func open(_ context.Context, cfg config, log *slog.Logger) (plugin.Connector[state], error) {
	c := newConnector(cfg, log, time.Now)
	if cfg.MetricsListen != "" {
		hide, err := c.metrics.expose(cfg.MetricsListen)
		if err != nil {
			return nil, err
		}
		c.hide = hide
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.side.Go(func() { c.metrics.progress(ctx, progressEvery, log) })
	if cfg.Drift.Every > 0 {
		c.side.Go(func() { c.every(ctx, cfg.Drift.Every) })
	}
	return c, nil
}

// newConnector makes one that runs nothing beside.
func newConnector(cfg config, log *slog.Logger, now func() time.Time) *connector {
	m := newMetrics()
	a := newAPI(cfg, m)
	c := &connector{cfg: cfg, api: a, eyes: eyes{a}, metrics: m, log: log, now: now}
	c.catalog = newCatalog(a, &c.cfg)
	c.guard = &cancelGuard{api: a, most: cfg.MaxCancels, now: now}
	return c
}

// Check asks Stripe whose key it is, and whether every price can be sold.
func (c *connector) Check(ctx context.Context) error {
	if _, err := c.whose(ctx, ""); err != nil {
		return err
	}
	return c.catalog.check(ctx)
}

// Close ends what runs beside, and lets go of the connections.
func (c *connector) Close() error {
	var err error
	if c.stop != nil {
		c.stop()
	}
	c.side.Wait()
	if c.hide != nil {
		err = c.hide()
	}
	c.api.close()
	return err
}

func main() {
	if os.Getenv(plugin.MagicCookieKey) == plugin.MagicCookieValue {
		connectorPlugin().Main()
	}
	os.Exit(command(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}
