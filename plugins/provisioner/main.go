// Command provisioner is a connector that gives every tenant what its plan
// promises: a database, a schema, or whatever a program of the team's makes.
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
		Name: "provisioner", Version: version, Summary: "gives every tenant the databases, schemas and other resources that its plan promises",
		Events: []string{"tenant.*"}, Order: plugin.PerTenant,
		Coalesce: true, KeepsHistory: true,
	}, Open: open}
}

func open(_ context.Context, cfg config, log *slog.Logger) (plugin.Connector[state], error) {
	c, err := newConnector(cfg, log, time.Now, func(string) {})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	if cfg.Sweep > 0 {
		c.side.Go(func() { c.every(ctx, cfg.Sweep) })
	}
	return c, nil
}

func main() {
	if os.Getenv(plugin.MagicCookieKey) == plugin.MagicCookieValue {
		connectorPlugin().Main()
	}
	os.Exit(command(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}
