package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/avhub/avhub/plugins/provisioner/hook"
	"github.com/avhub/avhub/plugins/provisioner/name"
	"github.com/avhub/avhub/plugins/provisioner/postgres"
	"github.com/avhub/avhub/plugins/provisioner/resource"
	"github.com/avhub/avhub/plugins/provisioner/secret"
	"github.com/avhub/avhub/plugins/provisioner/sqlite"
)

// connector gives tenants what their plans promise.
type connector struct {
	cfg      config
	log      *slog.Logger
	now      func() time.Time
	drivers  map[string]resource.Driver
	creates  rate
	destroys rate
	counts   counts

	stop context.CancelFunc // of what runs beside
	side sync.WaitGroup
}

// newConnector makes one that runs nothing beside. step is told of each step
// that changes something outside.
func newConnector(cfg config, log *slog.Logger, now func() time.Time, step func(string)) (*connector, error) {
	c := &connector{cfg: cfg, log: log, now: now, drivers: map[string]resource.Driver{}}
	c.creates = rate{most: cfg.Creates, within: time.Minute}
	c.destroys = rate{most: cfg.Destroys, within: time.Hour}
	c.counts.of = map[string]int{}
	for n, r := range cfg.Resources {
		d, err := cfg.driver(r, step)
		if err != nil {
			return nil, fmt.Errorf("resource %s: %w", n, err)
		}
		c.drivers[n] = d
	}
	return c, nil
}

func (c *config) driver(r resourceConfig, step func(string)) (resource.Driver, error) {
	o := postgres.Options{URL: r.Postgres.URL, Init: r.Postgres.Init, Sink: c.sink(), Step: step}
	switch r.Driver {
	case "sqlite":
		return &sqlite.Driver{Dir: r.SQLite.Dir, Init: r.SQLite.Init, Step: step}, nil
	case "postgres-schema":
		return postgres.NewSchema(o)
	case "postgres-database":
		return postgres.NewDatabase(o)
	default:
		return &hook.Driver{Command: hook.Command{Argv: r.Exec.Command, Env: r.Exec.Env, Timeout: r.Exec.Timeout}, Step: step}, nil
	}
}

// sink is where secrets go; nil: nowhere, so none are made.
func (c *config) sink() secret.Sink {
	switch {
	case c.Secrets.Dir != "":
		return secret.Folder{Dir: c.Secrets.Dir}
	case len(c.Secrets.Command) > 0:
		return secret.Command{Hook: hook.Command{Argv: c.Secrets.Command, Env: c.Secrets.Env, Timeout: c.Secrets.Timeout, Quiet: true}}
	}
	return nil
}

func (r resourceConfig) policy(allowDestroy bool) resource.Policy {
	return resource.Policy{Delete: r.Deprovision == "delete" && allowDestroy, Grace: r.Grace, Adopt: r.Adopt, Recreate: r.Recreate}
}

// Check asks every driver whether it could work.
func (c *connector) Check(ctx context.Context) error {
	var errs []error
	for n, d := range c.drivers {
		if err := d.Check(ctx); err != nil {
			errs = append(errs, fmt.Errorf("resource %s: %w", n, err))
		}
	}
	return errors.Join(errs...)
}

// Close ends what runs beside.
func (c *connector) Close() error {
	if c.stop != nil {
		c.stop()
	}
	c.side.Wait()
	for _, d := range c.drivers {
		d.Close()
	}
	return nil
}

// list finds the marked resources of one kind.
func (c *connector) list(ctx context.Context, res, suffix string) ([]resource.Found, error) {
	all, err := c.drivers[res].List(ctx, c.cfg.Owner, suffix)
	if err != nil {
		return nil, fmt.Errorf("resource %s: %w", res, err)
	}
	var out []resource.Found
	for _, f := range all {
		if f.Mark.Resource == res {
			out = append(out, f)
		}
	}
	return out, nil
}

// nameFor is the name of a tenant's resource: the one that it has already, or a
// new one. A tenant may have got another slug since.
func (c *connector) nameFor(ctx context.Context, res, slug, tenant string) (string, error) {
	fresh := name.Of(c.cfg.Resources[res].prefix(res), slug, tenant)
	have, err := c.drivers[res].Observe(ctx, fresh)
	if err != nil || have.Exists {
		return fresh, err
	}
	all, err := c.list(ctx, res, "_"+name.Hash(tenant))
	if err != nil {
		return "", err
	}
	for _, f := range all {
		if f.Mark.Tenant == tenant {
			return f.Name, nil
		}
	}
	return fresh, nil
}

// rate lets so many pass within a time.
type rate struct {
	most   int
	within time.Duration

	mu     sync.Mutex
	recent []time.Time
}

// take counts one more, or says how long to wait.
func (r *rate) take(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.recent) > 0 && now.Sub(r.recent[0]) >= r.within {
		r.recent = r.recent[1:]
	}
	if len(r.recent) >= r.most {
		return r.within - now.Sub(r.recent[0])
	}
	r.recent = append(r.recent, now)
	return 0
}

// counts knows how many there are of each resource that is limited.
type counts struct {
	mu sync.Mutex
	of map[string]int
}

// take counts one more of a resource, or refuses. What there is is asked for
// whenever the limit seems to be reached, as others delete, too.
func (c *connector) takePlace(ctx context.Context, res string) error {
	most := c.cfg.Resources[res].Max
	if most == 0 {
		return nil
	}
	c.counts.mu.Lock()
	defer c.counts.mu.Unlock()
	n, known := c.counts.of[res]
	if !known || n >= most {
		all, err := c.list(ctx, res, "")
		if err != nil {
			return err
		}
		n = len(all)
	}
	if n >= most {
		c.counts.of[res] = n
		return &refusal{fmt.Sprintf("there are %d already, and max allows no more; delete some, or raise it", n)}
	}
	c.counts.of[res] = n + 1
	return nil
}
