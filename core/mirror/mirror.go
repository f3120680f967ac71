// Package mirror keeps the copy of the provider's people, tenants, applications
// and what ties them together that a team queries: the tables av_….
//
// The mirror is a function of the set of events. The same events, applied in
// any order, any number of times and in batches of any size, end in the same
// rows, synced_at apart. What an event says is taken apart into effects (see
// effect.go), effects are merged into the state of an entity (state.go), and a
// row is what that state shows (project.go). Nothing in between looks at what
// arrived first.
package mirror

import (
	"time"

	"github.com/avhub/avhub/core/store"
	"github.com/rs/zerolog"
)

// Options of New. Zero values mean the defaults.
type Options struct {
	Log zerolog.Logger
	// Now is the clock of synced_at; nil: the system's. Its times must be UTC in
	// whole microseconds, which is what both databases can hold.
	Now func() time.Time

	// What follows decides what events mean. Rows that were written under other
	// rules stay as they are until the mirror is rebuilt.

	// ApplicationID is the application whose access the flat view in people's own
	// rows follows. Empty: any.
	ApplicationID string
	// MarkDeleted keeps the row of a deleted organization, with the status
	// "deleted".
	MarkDeleted bool
	// PlanFrom are the places where an organization's plan is read, in this
	// order: PlanFromData, PlanFromSettings, PlanFromSubscription. Nil: these.
	PlanFrom []string
	// PlanApplication is the application whose subscriptions tell the plan.
	// Empty: none does.
	PlanApplication string
}

// Mirror applies events to the tables of a store and reads them. It holds no
// state of its own and is safe for concurrent use, but transactions that call
// Apply must run one after another: SQLite has one writer anyway, and on
// Postgres the journal's lock sees to it.
type Mirror struct {
	store  *store.Store
	log    zerolog.Logger
	now    func() time.Time
	models *models
	// foldStates bounds the states that a fold keeps in memory.
	foldStates int
}

// New returns a mirror in st, whose schema must be up to date.
func New(st *store.Store, opts Options) *Mirror {
	if opts.Now == nil {
		opts.Now = store.Now
	}
	return &Mirror{store: st, log: opts.Log, now: opts.Now, foldStates: foldStates, models: newModels(rules{
		applicationID: opts.ApplicationID, markDeleted: opts.MarkDeleted,
		planFrom: opts.PlanFrom, planApplication: opts.PlanApplication,
	})}
}
