// Package access answers whether a person may use an application, and which
// features a tenant has, from the mirror and fast enough to be asked with every
// request.
//
// What was read is kept until an event changes it. A Check that begins after an
// event was committed by the same hub sees its effect; of what others commit to
// the same database (another hub, a backfill by the command) it may be unaware
// for one second. When the database cannot be asked whether something changed,
// there is an error, never an old answer.
package access

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/avhub/avhub/core/store"
	"github.com/rs/zerolog"
)

// Options of New. Zero values mean the defaults.
type Options struct {
	Log zerolog.Logger
	// Entries is how many decisions are kept, and how many tenants: 10,000 each
	// by default, some 10 MB; none if it is negative.
	Entries int
	// Features has the features of each plan. What stands under "*" is part of
	// every plan.
	Features map[string][]string
	// Now is the clock by which others' changes are looked for; nil: the
	// system's.
	Now func() time.Time
}

const (
	defaultEntries = 10_000
	// maxKey is the length, in bytes, of ids beyond which nothing is kept: ids
	// may come from strangers, and memory is to be bounded by Entries.
	maxKey = 1024
	// maxPlaces is in how many tenants a person may use one application for the
	// decision over all of them to be kept.
	maxPlaces = 64
)

// Checker answers questions about access. It is safe for concurrent use.
type Checker struct {
	store     *store.Store
	log       zerolog.Logger
	now       func() time.Time
	features  map[string][]string
	stamps    *stamps
	watch     *watch
	decisions *cache[question, Decision]
	tenants   *cache[name, []Tenant]
	complain  throttle
	afterRead func() // for tests; may be nil
}

// question is what was asked.
type question struct {
	identity, application, tenant string
	within                        bool // tenant alone counts
}

// New returns a checker that reads from st, whose schema must be up to date. On
// a hub its method Committing must be told of what the journal commits; without
// that it finds out within a second.
func New(st *store.Store, opts Options) *Checker {
	if opts.Entries == 0 {
		opts.Entries = defaultEntries
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	c := &Checker{store: st, log: opts.Log, now: opts.Now, features: map[string][]string{}, stamps: newStamps()}
	for plan, features := range opts.Features {
		c.features[plan] = slices.Clone(features)
	}
	c.watch = newWatch(opts.Now())
	c.decisions = newCache[question, Decision](c.stamps, opts.Entries)
	c.tenants = newCache[name, []Tenant](c.stamps, opts.Entries)
	return c
}

// Check tells whether the person may use the application, in any tenant or
// without one. identity is a sub, application an application_id.
//
// Where no tenant allows it, the reason is the one that is closest to being
// allowed. An error means that the database could not be asked: let nobody
// pass.
func (c *Checker) Check(ctx context.Context, identity, application string) (Decision, error) {
	return c.decide(ctx, question{identity: identity, application: application})
}

// CheckIn tells whether the person may use the application as one of the tenant
// with the id tenant: what is true elsewhere does not count. An empty tenant is
// one in which nobody has access.
func (c *Checker) CheckIn(ctx context.Context, identity, application, tenant string) (Decision, error) {
	return c.decide(ctx, question{identity: identity, application: application, tenant: tenant, within: true})
}

func (c *Checker) decide(ctx context.Context, q question) (Decision, error) {
	if !storable(q.identity) {
		// No person can have such a sub, and Postgres would call it an error.
		return q.decision(UnknownIdentity), nil
	}
	if err := c.refresh(ctx); err != nil {
		return Decision{}, err
	}
	if d, ok := c.decisions.get(q); ok {
		d.Grants = slices.Clone(d.Grants) // the caller's own
		return d, nil
	}
	since := c.stamps.now() // before the database is read
	f, err := c.read(ctx, q)
	if err != nil {
		return Decision{}, err
	}
	if c.afterRead != nil {
		c.afterRead()
	}
	d := q.judge(f)
	if len(f.places) <= maxPlaces && len(q.identity)+len(q.application)+len(q.tenant) <= maxKey {
		kept := d
		kept.Grants = slices.Clone(d.Grants)
		c.decisions.put(q, kept, since, c.tags(q, f))
	}
	return d, nil
}

// tags are what the facts were read from.
func (c *Checker) tags(q question, f facts) []tag {
	tags := []tag{c.stamps.tag(kindIdentity, q.identity)}
	if q.within {
		tags = append(tags, c.stamps.tag(kindOrganization, q.tenant))
	}
	for _, p := range f.places {
		if p.tenant != nil && !q.within {
			tags = append(tags, c.stamps.tag(kindOrganization, *p.tenant))
		}
		for _, id := range p.memberships {
			tags = append(tags, c.stamps.tag(kindMembership, id))
		}
	}
	return tags
}

// storable tells whether an id can be in the database.
func storable(id string) bool {
	return id != "" && utf8.ValidString(id) && strings.IndexByte(id, 0) < 0
}
