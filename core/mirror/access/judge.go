package access

import (
	"cmp"
	"slices"
	"strings"
)

// facts are what a decision follows from.
type facts struct {
	known, active bool // the person
	places        []place
}

// place is one access of the person to the application or, where a tenant is
// asked about, that tenant, with or without such an access.
type place struct {
	tenant      *string // nil: the access is independent of tenants
	standing    standing
	memberships []string // their ids
	membership  string   // the best of their statuses; empty: there is none
	access      bool
	role        Grant
}

// standing is what is known of a tenant.
type standing uint8

const (
	unheard standing = iota // neither a row nor a grave
	running
	suspended
	deleted
)

func (q question) decision(r Reason) Decision {
	return Decision{
		Allowed: r == Allowed, Reason: r,
		Identity: q.identity, Application: q.application, Tenant: q.tenant,
	}
}

// judge decides. is_active and has_access both must be true. The column
// has_app_access of identities does not count: it is a summary over tenants and
// may say yes where the truth of one application in one tenant says no.
func (q question) judge(f facts) Decision {
	switch {
	case !f.known:
		return q.decision(UnknownIdentity)
	case !f.active:
		return q.decision(IdentityDeactivated)
	}
	best := NoAccess
	var grants []Grant
	for _, p := range f.places {
		if !q.within && !p.access {
			continue // only tenants in which there is access are looked at
		}
		reason := p.reason()
		switch order := cmp.Compare(closeness(reason), closeness(best)); {
		case order < 0:
			continue
		case order > 0:
			best, grants = reason, nil
		}
		if p.access && reason != NoAccess {
			grants = append(grants, p.role)
		}
	}
	slices.SortFunc(grants, func(a, b Grant) int { return strings.Compare(a.Tenant, b.Tenant) })
	d := q.decision(best)
	d.Grants = grants
	return d
}

// reason is the first that applies, from the widest to the narrowest.
func (p *place) reason() Reason {
	switch {
	case p.standing == deleted:
		return TenantDeleted
	case p.standing == suspended:
		return TenantSuspended
	case p.membership == statusLeft:
		return MembershipLeft
	case p.membership == statusSuspended:
		return MembershipSuspended
	case !p.access:
		return NoAccess
	}
	// A tenant or a membership that was not told yet denies nothing.
	return Allowed
}

// closeness orders the reasons of several tenants by how close they are to
// being allowed: what is suspended can be resumed.
func closeness(r Reason) int {
	switch r {
	case Allowed:
		return 5
	case TenantSuspended:
		return 4
	case MembershipSuspended:
		return 3
	case MembershipLeft:
		return 2
	case TenantDeleted:
		return 1
	}
	return 0
}

// The statuses of memberships. What is none of them is taken for suspended: it
// is not active.
const (
	statusActive    = "active"
	statusSuspended = "suspended"
	statusLeft      = "left"
	statusDeleted   = "deleted" // of a tenant, where its row is kept
)

// join adds a membership to those of the place. Somebody who left and joined
// again has two; the one that allows most counts.
func (p *place) join(id, status string) {
	if slices.Contains(p.memberships, id) {
		return
	}
	p.memberships = append(p.memberships, id)
	rank := map[string]int{"": 0, statusLeft: 1, statusSuspended: 2, statusActive: 3}
	if status != statusActive && status != statusLeft {
		status = statusSuspended
	}
	if rank[status] > rank[p.membership] {
		p.membership = status
	}
}
