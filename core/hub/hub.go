// Package hub puts the rooms together: sources, journal, mirror, plugins and
// their deliveries, and the two listeners. It can be mounted in a team's own
// server: see New, Handler and Run.
package hub

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/admin"
	"github.com/avhub/avhub/core/admin/api"
	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/fanout"
	"github.com/avhub/avhub/core/journal"
	"github.com/avhub/avhub/core/journal/retention"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/access"
	"github.com/avhub/avhub/core/mirror/ask"
	"github.com/avhub/avhub/core/mirror/isolated"
	"github.com/avhub/avhub/core/mirror/session"
	"github.com/avhub/avhub/core/source"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
)

// Options of New. The zero value is usable.
type Options struct {
	Log zerolog.Logger
	// OnAppend, if set, is told of every event that the journal answered for,
	// OnDelivery of every committed verdict. They must not block.
	OnAppend   func(*event.Event, journal.Receipt)
	OnDelivery func(fanout.Delivery)
	// AccessEntries is how many decisions Access keeps; see access.Options.
	AccessEntries int
}

// Hub is the whole of avhub on one configuration.
type Hub struct {
	cfg     *config.Config
	opts    Options
	log     zerolog.Logger
	store   *store.Store
	mirror  *mirror.Mirror
	access  *access.Checker
	journal *journal.Journal
	tenants *isolated.Databases // nil: all tenants in the hub's database alone
	metrics *prometheus.Registry
	sources []*source.Source
	plugged
	// sessions removes those that are over.
	sessions *session.Schedule
	// retention removes old events.
	retention *retention.Retention
	public    http.Handler
	admin     http.Handler
	listeners

	aloneMu sync.Mutex
	alone   func() // releases the lock of the database; nil: it is not held

	closeOnce sync.Once
	closeErr  error
}

// New opens the storage, brings its schema up to date unless storage.migrate is
// manual, and prepares everything else. Nothing runs and no address is bound
// before Run or Serve. Close the hub when it is not needed any more.
func New(ctx context.Context, cfg *config.Config, opts Options) (_ *Hub, err error) {
	h := &Hub{cfg: cfg, opts: opts, log: opts.Log, metrics: prometheus.NewRegistry()}
	h.owner, h.looking, h.hints = leaseName(), make(chan struct{}, 1), make(chan struct{}, 1)
	h.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	h.store, err = store.Open(ctx, cfg.Storage.URL, store.Options{Log: opts.Log})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.store.Close())
		}
	}()
	h.leases = fanout.NewLeases(h.store, fanout.LeaseOptions{
		Hub: h.owner, Name: ownerName(), Alone: h.store.Dialect() == store.SQLite,
	})
	if err := h.migrate(ctx); err != nil {
		return nil, err
	}
	h.mirror = NewMirror(h.store, cfg, opts.Log)
	if err := h.checkRules(ctx); err != nil {
		return nil, err
	}
	h.access = access.New(h.store, access.Options{Log: opts.Log, Entries: opts.AccessEntries, Features: cfg.Features})
	h.journal = journal.New(h.store, h.mirror, journal.Options{
		Log: opts.Log, Registerer: h.metrics, Observer: h.access, Committed: h.committed,
	})
	h.sessions = session.NewSchedule(h.store, cfg.Mirror.Sessions.CleanupEvery, session.Options{
		Keep: cfg.Mirror.Sessions.Keep, Max: cfg.Mirror.Sessions.MaxPerRun,
	}, session.Deps{Log: opts.Log, Registerer: h.metrics})
	if h.tenants, err = TenantDatabases(cfg, h.store, h.journal, opts.Log, h.metrics); err != nil {
		return nil, err
	}
	h.retention = Retention(cfg, h.store, h.journal, opts.Log, h.metrics)
	if err := h.addSources(); err != nil {
		return nil, err
	}
	if err := h.addPlugins(); err != nil {
		return nil, err
	}
	h.admin = admin.New(admin.Deps{
		Token: cfg.Admin.Token, Ready: h.ready, Gatherer: h.metrics, Log: opts.Log,
		API: api.New(ask.New(h.store), Operator(h.store, h.journal), opts.Log),
	})
	return h, nil
}

// NewMirror returns the mirror that a configuration describes.
func NewMirror(st *store.Store, cfg *config.Config, log zerolog.Logger) *mirror.Mirror {
	return mirror.New(st, mirrorOptions(cfg, log))
}

func mirrorOptions(cfg *config.Config, log zerolog.Logger) mirror.Options {
	return mirror.Options{
		Log: log, ApplicationID: cfg.Mirror.ApplicationID, MarkDeleted: cfg.Mirror.OnDelete == "mark",
		PlanFrom: cfg.Mirror.PlanFrom, PlanApplication: cfg.Mirror.PlanApplicationID(),
	}
}

// checkRules warns where rows that are there mean something else than those that
// this configuration would write.
func (h *Hub) checkRules(ctx context.Context) error {
	same, err := h.mirror.CheckRules(ctx)
	if err == nil && !same {
		h.log.Warn().Msg("the mirror was built under other rules (mirror.application_id, on_delete, plan_from, plan_application, " +
			"or an earlier version); run `avhub mirror rebuild`")
	}
	return err
}

func (h *Hub) migrate(ctx context.Context) error {
	if h.cfg.Storage.Migrate == "manual" {
		return h.store.CheckSchema(ctx)
	}
	ran, err := h.store.Migrate(ctx)
	for _, name := range ran {
		h.log.Info().Str("migration", name).Msg("database schema changed")
	}
	return err
}

func (h *Hub) addSources() error {
	metrics, err := source.NewMetrics(h.metrics)
	if err != nil {
		return err
	}
	bodies := source.NewBodies(int64(h.cfg.Server.MaxBodies), int64(h.cfg.Server.MaxBody), h.metrics)
	mux := http.NewServeMux()
	for _, c := range h.cfg.Sources {
		s, err := source.New(source.Config{
			Name: c.Name, Host: c.Host, JWKSURL: c.JWKSURL,
			MaxAge: c.MaxAge, MaxAhead: c.MaxAhead, MaxBody: int64(h.cfg.Server.MaxBody),
		}, source.Deps{Journal: observed{h.journal, h.opts.OnAppend}, Log: h.log, Metrics: metrics, Bodies: bodies})
		if err != nil {
			return err
		}
		h.sources = append(h.sources, s)
		mux.Handle(c.Path, s)
	}
	h.public = mux
	return nil
}

// observed tells an observer what the journal answered.
type observed struct {
	*journal.Journal
	observe func(*event.Event, journal.Receipt)
}

func (o observed) Append(ctx context.Context, ev *event.Event) (journal.Receipt, error) {
	receipt, err := o.Journal.Append(ctx, ev)
	if err == nil && o.observe != nil {
		o.observe(ev, receipt)
	}
	return receipt, err
}

// Handler answers the sources' webhooks on the paths that the configuration
// names. Mount it at "/" or at those paths.
func (h *Hub) Handler() http.Handler { return h.public }

// AdminHandler answers health checks, and metrics and the API behind the admin
// token if one is set.
func (h *Hub) AdminHandler() http.Handler { return h.admin }

// Mirror is the client for queries of the mirror.
func (h *Hub) Mirror() *ent.Client { return h.store.Read() }

// Store is the hub's database.
func (h *Hub) Store() *store.Store { return h.store }

// Journal is the hub's log of events.
func (h *Hub) Journal() *journal.Journal { return h.journal }

// Close closes the storage. Call it after Run or Serve has returned.
func (h *Hub) Close() error {
	h.closeOnce.Do(func() {
		h.listeners.close()
		h.aloneMu.Lock()
		if h.alone != nil {
			h.alone()
		}
		h.aloneMu.Unlock()
		if h.tenants != nil {
			h.closeErr = h.tenants.Close()
		}
		h.closeErr = errors.Join(h.closeErr, h.store.Close())
	})
	return h.closeErr
}

// readyTimeout bounds a readiness check: whoever asks will ask again.
const readyTimeout = 2 * time.Second

// ready tells what the hub needs to take events. A plugin in trouble is no
// reason to take none: its events wait in the journal.
func (h *Hub) ready(ctx context.Context) []admin.Check {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	storage := admin.Check{Name: "storage", OK: true}
	if err := h.store.Ping(ctx); err != nil {
		storage.OK, storage.Detail = false, err.Error()
	}
	checks := []admin.Check{storage}
	for i, s := range h.sources {
		keys := s.KeySet()
		check := admin.Check{Name: "keys of " + h.cfg.Sources[i].Name, OK: keys.Keys > 0}
		if !check.OK {
			check.Detail = "no key set was fetched yet; events get 503 until there is one"
		}
		checks = append(checks, check)
	}
	return checks
}
