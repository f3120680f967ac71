// Package backfill fills the mirror with the members whom the provider had before
// the first event, and compares the mirror with the provider.
//
// Members are read over the integration API, unit by unit: a unit is one answer,
// the members of a tenant or those of an application. What is read about one is
// a fact (mirror.Fact), which never overrides what an event said.
package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/avhub/avhub/config"
	"github.com/avhub/avhub/core/mirror"
	"github.com/avhub/avhub/core/mirror/backfill/integration"
	"github.com/avhub/avhub/core/store"
	"github.com/avhub/avhub/ent"
	"github.com/avhub/avhub/ent/organization"
	"github.com/rs/zerolog"
)

// Options of Run and Verify.
type Options struct {
	Source config.Source
	Client *integration.Client
	Store  *store.Store // whose schema is up to date
	Mirror *mirror.Mirror
	Log    zerolog.Logger

	// Tenants and Clients name what is read: ids of tenants and client ids of
	// applications. With neither, it is everything: the applications and tenants of
	// the configuration, the tenants of the mirror, and those that the
	// applications' members are in.
	Tenants, Clients []string

	// DryRun writes nothing and tells what would change.
	DryRun bool
	// Restart begins anew where an interrupted run would be gone on with.
	Restart bool

	Progress func(Progress)   // hears how far it has come; may be nil
	Now      func() time.Time // nil: store.Now
}

// Progress is how far a run has come.
type Progress struct {
	Unit       integration.Unit // that is being read
	UnitsDone  int
	UnitsTotal int // as far as is known
	Members    int64
}

// NewClient returns a client for the integration API of a source.
func NewClient(source config.Source, log zerolog.Logger) *integration.Client {
	return integration.New(integration.Options{
		BaseURL: source.BaseURL(), ClientID: source.API.ClientID, ClientSecret: source.API.ClientSecret, Log: log,
	})
}

// ErrNothingToRead is returned when nothing names a unit.
var ErrNothingToRead = errors.New("there is nothing to read: the source's api.clients and api.tenants are empty, and the mirror knows no tenant yet. " +
	"Enter the client ids of your applications under api.clients, or name a --tenant or --client")

// Failure is a unit that could not be read.
type Failure struct {
	Unit  string `json:"unit"`
	Error string `json:"error"`
}

// maxStreak is how many units may fail in a row before the rest is left alone:
// then it is the provider, or what was configured, and no unit's own trouble.
const maxStreak = 4

// tour goes from unit to unit.
type tour struct {
	o       Options
	only    bool // what was asked for by name is all there is
	planned map[integration.Unit]bool
	queue   []integration.Unit
	done    int
	members int64 // that were read

	failures []Failure
	unknown  []string // tenants that the mirror knows and the provider does not
	streak   int
}

func newTour(o Options) *tour {
	return &tour{o: o, only: len(o.Tenants)+len(o.Clients) > 0, planned: map[integration.Unit]bool{}}
}

func (t *tour) add(kind integration.Kind, ids ...string) {
	for _, id := range ids {
		if u := (integration.Unit{Kind: kind, ID: id}); id != "" && !t.planned[u] {
			t.planned[u] = true
			t.queue = append(t.queue, u)
		}
	}
}

// found adds a tenant that somebody turned out to be in.
func (t *tour) found(tenant string) {
	if !t.only {
		t.add(integration.Tenant, tenant)
	}
}

// walk reads all units: applications first, as their members lead to tenants.
// visit returns how many members it read.
func (t *tour) walk(ctx context.Context, visit func(context.Context, integration.Unit) (int, error)) error {
	clients, tenants := t.o.Clients, t.o.Tenants
	if !t.only {
		clients, tenants = t.o.Source.API.Clients, t.o.Source.API.Tenants
	}
	named := map[string]bool{}
	for _, id := range tenants {
		named[id] = true
	}
	t.add(integration.Application, clients...)
	first := len(t.queue)
	t.add(integration.Tenant, tenants...)
	if !t.only {
		if err := t.addKnown(ctx); err != nil {
			return err
		}
	}
	if len(t.queue) == 0 {
		return ErrNothingToRead
	}
	for i := 0; i < len(t.queue); i++ { // grows meanwhile
		if i == first && !t.only {
			// Those of the mirror that came while the applications were read.
			if err := t.addKnown(ctx); err != nil {
				return err
			}
		}
		u := t.queue[i]
		t.progress(u, 0)
		members, err := visit(ctx, u)
		t.members += int64(members)
		if err != nil {
			if err := t.fail(ctx, u, err, named[u.ID]); err != nil {
				return err
			}
		} else {
			t.streak = 0
		}
		t.done++
		t.progress(u, 0)
	}
	return nil
}

// fail notes that a unit could not be read. It returns an error if there is no
// use in reading on.
func (t *tour) fail(ctx context.Context, u integration.Unit, err error, named bool) error {
	var refused *integration.Refused
	var unavailable *integration.Unavailable
	var unusable *integration.Unusable
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &refused):
		if refused.Credentials {
			return err
		}
		if refused.Status == 404 && u.Kind == integration.Tenant && !named {
			// It may be another provider's, or deleted there a moment ago.
			t.unknown = append(t.unknown, u.ID)
			return nil
		}
	case errors.As(err, &unavailable), errors.As(err, &unusable):
	default:
		return err // no trouble of the provider's
	}
	t.failures = append(t.failures, Failure{u.String(), err.Error()})
	t.o.Log.Warn().Stringer("unit", u).Err(err).Msg("a unit could not be read; the others are")
	if t.streak++; t.streak >= maxStreak {
		return fmt.Errorf("%d units in a row could not be read, so the rest is left alone; the last one: %w", t.streak, err)
	}
	return nil
}

func (t *tour) progress(u integration.Unit, members int) {
	if t.o.Progress != nil {
		t.o.Progress(Progress{Unit: u, UnitsDone: t.done, UnitsTotal: len(t.queue), Members: t.members + int64(members)})
	}
}

// knownPage is how many tenants are read from the mirror at a time.
const knownPage = 1000

// addKnown adds the tenants that the mirror shows.
func (t *tour) addKnown(ctx context.Context) error {
	for last := ""; ; {
		ids, err := t.o.Store.Read().Organization.Query().
			Where(organization.IDGT(last), organization.StatusNEQ("deleted")).
			Order(ent.Asc(organization.FieldID)).Limit(knownPage).IDs(ctx)
		if err != nil {
			return fmt.Errorf("list the tenants that the mirror knows: %w", err)
		}
		t.add(integration.Tenant, ids...)
		if len(ids) < knownPage {
			return nil
		}
		last = ids[len(ids)-1]
	}
}
