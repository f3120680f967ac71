// Package isolated keeps each tenant's rows also in a database of the tenant's
// own, beside the mirror that holds everything.
//
// A tenant's database is a function of a set of events: those that name the
// tenant, those about applications and login providers that belong to no tenant,
// and those that name no tenant and are about a person who is tied to it (see
// belong.go); and of the facts that first fills have read about the tenant. They
// are applied by the same mirror, so the same law holds: order,
// repetition and batches do not matter. What this package sees to is that each
// of these gets there at least once, and no other ever does.
//
// Two steps do that. The dispatcher (dispatch.go) follows the journal and notes
// in the hub's database which tenants have something new, and which people are
// tied to them. The feeders (feed.go) then bring one tenant's database after the
// other to that point, reading the tenant's events from the journal by its
// index. How far a database is stands in that database itself, and moves in the
// transaction that applies the events: whatever crashes, whatever is restored
// from a backup, it goes on from there.
//
// Beside the journal come facts (facts.go), and events that could not be applied
// when they came and were later (later.go). They have cursors of their own. As
// they do not move a database's target, they call for a look at it.
package isolated

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/avhub/avhub/core/event"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Span selects events of the journal: those after one position and up to
// another, in order.
type Span struct {
	// Key and Subject select the events with this Event.TenantKey or
	// Event.Subject, Type those of one type; empty: all.
	Key, Subject, Type string

	After int64
	Until int64 // 0: no end
	// Limit and MaxBytes end the answer early, after the event that reaches it.
	Limit, MaxBytes int
}

// Journal is where events come from.
type Journal interface {
	Read(ctx context.Context, s Span) ([]*event.Event, error)
	// Wake returns a channel that is closed when there is more: a hint.
	Wake() <-chan struct{}
}

// Config says where the databases are.
type Config struct {
	// URL has {tenant_id} or {slug} in the file's or database's name.
	URL string
	// MaxOpen databases are open at a time; 0: 32.
	MaxOpen int
	// Drop removes the database of a tenant that is deleted.
	Drop bool
	// Manual leaves the schema of databases that have one to Migrate.
	Manual bool
}

// Deps are what the databases are kept with.
type Deps struct {
	Store *store.Store // the hub's
	// HubURL is that of Store: no tenant's database may be the hub's.
	HubURL  string
	Journal Journal // needed by Run alone
	// Mirror are the options of the shared mirror: the same rules for all.
	Mirror     mirror.Options
	Log        zerolog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: the system's clock
}

// Databases are all tenants' own databases. They are safe for concurrent use.
type Databases struct {
	cfg     Config
	deps    Deps
	place   template
	pool    *pool
	metrics *metrics

	sizes     sizes
	ran       bool // Run began
	checkedMu sync.Mutex
	checked   map[string]struct{} // tenants whose schema this process has seen to
}

// sizes bound one step of work.
type sizes struct {
	dispatch int // events that one transaction of the dispatcher looks at
	group    int // events that one transaction of a feeder applies; also facts, and ties that are read at a time
}

const (
	dispatchBytes = 8 << 20
	groupBytes    = 4 << 20
	defaultOpen   = 32
	// maxChecked bounds what is remembered of schemas; beyond it, it is looked
	// up again.
	maxChecked = 10000
)

// New returns the databases that cfg describes. Nothing is opened before it is
// needed.
func New(cfg Config, deps Deps) (*Databases, error) {
	place, err := parseTemplate(cfg.URL, deps.HubURL)
	if err != nil {
		return nil, err
	}
	if cfg.MaxOpen == 0 {
		cfg.MaxOpen = defaultOpen
	}
	if deps.Now == nil {
		deps.Now = store.Now
	}
	deps.Mirror.Log = zerolog.Nop() // the shared mirror has told of every event that failed
	d := &Databases{
		cfg: cfg, deps: deps, place: place,
		sizes:   sizes{dispatch: 500, group: 512},
		checked: map[string]struct{}{},
	}
	d.pool = newPool(cfg.MaxOpen, d.open)
	d.metrics = newMetrics(deps.Registerer, d.pool)
	return d, nil
}

// ErrNoDatabase is returned for a tenant that has no database of its own (yet).
var ErrNoDatabase = errors.New("the tenant has no database of its own")

// Mirror returns a client for queries of a tenant's database, and a function to
// call when it is not needed any more: until then the database stays open, and
// is one of those that may be open at a time.
func (d *Databases) Mirror(ctx context.Context, tenant string) (*ent.Client, func(), error) {
	row, ok, err := d.row(ctx, tenant)
	if err != nil {
		return nil, nil, err
	}
	if !ok || row.State == stateDeleted || !d.place.holds(row.Place) {
		return nil, nil, fmt.Errorf("open the database of tenant %q: %w", tenant, ErrNoDatabase)
	}
	db, release, err := d.pool.acquire(ctx, tenant, row.Place)
	if err != nil {
		return nil, nil, fmt.Errorf("open the database of tenant %q: %w", tenant, err)
	}
	return db.store.Read(), release, nil
}

// Close closes all databases. Call it after Run has returned.
func (d *Databases) Close() error {
	if err := d.pool.close(); err != nil {
		return fmt.Errorf("close tenants' databases: %w", err)
	}
	if !d.ran {
		return nil
	}
	ctx, cancel := d.bound(context.Background())
	defer cancel()
	return d.setRunning(ctx, 0) // everything is on disk
}
