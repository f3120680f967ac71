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
	"slices"
	"strings"
	"time"

	"github.com/avhub/avhub/core/event"
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
}

// New returns a mirror in st, whose schema must be up to date.
func New(st *store.Store, opts Options) *Mirror {
	if opts.Now == nil {
		opts.Now = store.Now
	}
	return &Mirror{store: st, log: opts.Log, now: opts.Now, models: newModels(rules{
		applicationID: opts.ApplicationID, markDeleted: opts.MarkDeleted,
		planFrom: opts.PlanFrom, planApplication: opts.PlanApplication,
	})}
}

// Ref names an entity. Kind is one of package event's, such as
// event.KindIdentity; ID is the key of its row: the sub, the tenant_id and so on.
type Ref struct {
	Kind, ID string
}

// Refs returns the entities whose rows go out with an event: the one that it is
// about, its tenant's organization, and the application that its envelope names.
// Entities of kinds that the mirror does
// not have are left out.
func (m *Mirror) Refs(ev *event.Event) []Ref {
	refs := make([]Ref, 0, 3)
	kind, id, _ := strings.Cut(ev.Subject(), ":")
	if m.models.byKind(kind) != nil {
		if kind == event.KindSSOProvider {
			// The subject has the tenant's part always, the row's id only when
			// there is a tenant.
			id = strings.TrimPrefix(id, "/")
		}
		refs = append(refs, Ref{kind, id})
	}
	for _, beside := range [...]Ref{{event.KindOrganization, ev.TenantID}, {event.KindApplication, ev.ApplicationID}} {
		if beside.ID != "" && !slices.Contains(refs, beside) {
			refs = append(refs, beside)
		}
	}
	return refs
}
