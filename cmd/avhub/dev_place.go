package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/listen"
	"github.com/rs/zerolog"
)

// devWebhook is the path of the simulated provider's webhooks.
const devWebhook = "/webhooks/authvital"

// Names of dev's plugins.
const (
	devPlugin  = "notify"
	devAuditor = "auditlog"
)

// devPlace is who is where.
type devPlace struct {
	dir           string
	server, admin string         // addresses of the hub's listeners
	provider, app string         // URLs
	notify        string         // path of the connector
	billing       devBilling     // the connector that bills, with a simulated Stripe
	audit         string         // path of the connector that keeps the audit trail; empty: it is not there
	tenants       devTenants     // the connector that gives each tenant a database
	own           *config.Config // of which the plugins are taken instead; or nil
	logLevel      string
	machine       devMachine
	clients       []string // client ids of applications whose members were there before
}

// devPast is how many companies the simulated provider has before anything is
// told of them, for avhub backfill to find.
const devPast = 2

// devMachine may read members over the simulated provider's API.
type devMachine struct{ id, secret string }

// config is the hub's configuration for it.
func (p devPlace) config() (*config.Config, error) {
	dir, err := filepath.Abs(p.dir) // so that the file can be used from anywhere
	if err != nil {
		return nil, fmt.Errorf("finding the folder of dev: %w", err)
	}
	cfg := config.Default()
	if p.own != nil {
		plain := cfg
		cfg = *p.own // which knows where it came from
		cfg.Server, cfg.Admin, cfg.Storage, cfg.Log = plain.Server, plain.Admin, plain.Storage, plain.Log
	}
	cfg.Server.Listen, cfg.Admin.Listen = p.server, p.admin
	cfg.Storage.URL = "sqlite://" + filepath.Join(dir, devDatabase)
	cfg.Log.Level = p.logLevel
	cfg.Sources = []config.Source{{
		Name: "authvital", Host: p.provider, Path: devWebhook, MaxAge: 5 * time.Minute, MaxAhead: time.Minute,
		API: config.API{ClientID: p.machine.id, ClientSecret: p.machine.secret, Clients: p.clients},
	}}
	if p.own == nil {
		cfg.Plugins = []config.Plugin{{
			Name: devPlugin, Command: []string{p.notify}, Events: []string{"*"},
			Config: map[string]any{"url": p.app + "/events"}, RetryFor: time.Hour, OnDead: "continue", Partitions: 1,
		}}
		if p.billing.stripe != "" {
			cfg.Plugins = append(cfg.Plugins, p.billing.plugin())
		}
		if p.audit != "" {
			cfg.Plugins = append(cfg.Plugins, config.Plugin{
				Name: devAuditor, Command: []string{p.audit}, Events: []string{"*"},
				Config: map[string]any{"dir": filepath.Join(dir, devAudit)}, RetryFor: time.Hour, OnDead: "continue", Partitions: 1,
			})
		}
		if p.tenants.program != "" {
			cfg.Plugins = append(cfg.Plugins, p.tenants.plugin())
		}
	}
	return &cfg, cfg.Validate()
}

// file is the configuration as a file, with the machine's secret in it: it opens
// nothing but the simulated provider, and the file is for its owner alone.
func (p devPlace) file(cfg *config.Config) ([]byte, error) {
	shown, err := cfg.Show()
	if err != nil {
		return nil, err
	}
	const key = "client_secret: "
	before, after, found := strings.Cut(string(shown), key)
	_, after, ended := strings.Cut(after, "\n")
	if !found || !ended {
		return nil, errors.New("writing the configuration of dev: it lacks the simulated machine's secret")
	}
	return []byte(before + key + p.machine.secret + "\n" + after), nil
}

// devPlugins reads the configuration whose plugins dev is to run.
func (c *cli) devPlugins(file string) (*config.Config, error) {
	cfg, err := c.load(&configFlags{file: file}, "plugins", "mirror", "features")
	if err != nil {
		return nil, err
	}
	if len(cfg.Plugins) == 0 {
		return nil, fmt.Errorf("%s has no plugins, so there is nothing to try", file)
	}
	return cfg, errors.Join(refuseLiveKeys(cfg), cfg.CheckFiles())
}

// header tells who is where and what to try.
func (p devPlace) header(c *cli) {
	me := os.Args[0]
	where := ""
	if p.dir != devDir {
		where = " --dir " + quoted(p.dir)
	}
	row := func(what, address, remark string) {
		c.say("  %-10s %-44s %s", what, address, remark)
	}
	c.say("avhub dev: everything on this machine. Ctrl-C ends it.")
	c.say("")
	row("AuthVital", p.provider, "simulated; signs every event")
	row("hub", "http://"+p.server+devWebhook, "where it sends them")
	row("operators", "http://"+p.admin, "/readyz, /metrics")
	if p.own == nil {
		row("connector", p.notify, "gets every event, posts it to")
		row("your app", p.app+"/events", "a stand-in that says 200")
		if p.billing.stripe != "" {
			row("connector", p.billing.program, "bills each tenant for its plan and its seats at")
			address, remark := p.billing.dashboard()
			row("Stripe", address, remark)
		}
		if p.audit != "" {
			row("auditor", p.audit, "keeps a trail that anyone can check")
		}
		if p.tenants.program != "" {
			row("connector", p.tenants.program, "gives each tenant a database below")
			row("databases", p.tenants.dir, "open/ can be used, closed/ is kept")
		}
	} else {
		for _, own := range p.own.Plugins {
			row("plugin", own.Name, "gets the events that it wants")
		}
	}
	files := devDatabase + ", " + devLog
	if p.audit != "" {
		files += ", " + devAudit
	}
	row("files", p.dir, files)
	c.say("")
	c.say("In another terminal, try")
	c.say("  %s event send --type tenant.updated --set plan=enterprise%s", me, where)
	c.say("  %s event send --type tenant.updated --forge%s", me, where)
	c.say("  %s org list -c %s", me, filepath.Join(p.dir, devConfig))
	c.say("  %s backfill -c %s", me, filepath.Join(p.dir, devConfig))
	c.say("")
}

// farewell tells how to judge the trail that was written.
func (p devPlace) farewell(c *cli) {
	if p.audit == "" {
		return
	}
	trail := filepath.Join(p.dir, devAudit)
	c.say("")
	c.say("All of it stands in an audit trail, too. To judge it, with no hub running, and to read it:")
	c.say("  %s verify %s", quoted(p.audit), quoted(trail))
	c.say("  %s history %s", quoted(p.audit), quoted(trail))
}

// findBundled finds a bundled connector: beside this program, or where make puts
// it.
func findBundled(name string) (string, error) {
	var tried []string
	if me, err := os.Executable(); err == nil {
		tried = append(tried, filepath.Join(filepath.Dir(me), name))
	}
	if bin, err := filepath.Abs(filepath.Join("bin", name)); err == nil {
		tried = append(tried, bin)
	}
	for _, path := range tried {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("dev needs the connector %s, and it is not there; run `make build`. Looked for %s", name, strings.Join(tried, " and "))
}

// serveLoopback serves on a free port of this machine until ctx ends.
func serveLoopback(ctx context.Context, done *sync.WaitGroup, handler http.Handler, log zerolog.Logger) (address string, err error) {
	s, err := listen.Open(ctx, listen.Options{Addr: "127.0.0.1:0", MaxConnections: 64, Handler: handler, Log: log})
	if err != nil {
		return "", err
	}
	done.Go(func() {
		if err := s.Serve(ctx); err != nil {
			log.Error().Err(err).Msg("a listener of dev ended")
		}
	})
	return s.Addr().String(), nil
}

// receiver stands for the user's application: it takes everything.
func receiver() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The body has to be read for the connection to be used again.
		_, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 4<<20))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case err != nil:
			w.WriteHeader(http.StatusBadRequest)
		default:
			w.WriteHeader(http.StatusOK)
		}
	})
}
