package access

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// Refusal is what a request that may not pass is answered with.
type Refusal struct {
	Status int // of HTTP
	// Code is a stable word: a Reason, or one of the codes below.
	Code string
	// Text is for people. It holds nothing of the request.
	Text string
	// Err is why the database could not be asked; nil if it could. It is not for
	// the requester's eyes.
	Err error
}

// Codes of refusals beside the reasons of decisions.
const (
	CodeUnknownTenant   = "unknown_tenant"
	CodeAmbiguousTenant = "ambiguous_tenant"
	CodeNoIdentity      = "no_identity"
	CodeNoFeature       = "feature_not_in_plan"
	CodeUnavailable     = "access_unavailable"
)

// GateOption changes a middleware.
type GateOption func(*gate)

type gate struct {
	refuse func(http.ResponseWriter, *http.Request, Refusal)
	bySlug bool
}

// BySlug lets RequireTenant take what resolve returns for a slug, not an id.
func BySlug() GateOption { return func(g *gate) { g.bySlug = true } }

// RefuseWith lets answer write the answer to requests that may not pass, instead
// of Refusal.Write.
func RefuseWith(answer func(http.ResponseWriter, *http.Request, Refusal)) GateOption {
	return func(g *gate) { g.refuse = answer }
}

func newGate(opts []GateOption) gate {
	g := gate{refuse: func(w http.ResponseWriter, _ *http.Request, no Refusal) { no.Write(w) }}
	for _, o := range opts {
		o(&g)
	}
	return g
}

// RequireTenant lets requests pass that are about an active tenant, whose id (or
// slug, see BySlug) resolve tells, and puts the tenant into their context; see
// TenantFrom and TenantOf. Others are answered:
//
//	404 unknown_tenant, tenant_deleted
//	403 tenant_suspended
//	409 ambiguous_tenant    several tenants have the slug
//	503 access_unavailable  the database could not be asked
//
// A deleted tenant is a 404 like one that never was: whether its row is still
// there depends on mirror.on_delete, and a slug cannot be looked up without it.
func (c *Checker) RequireTenant(resolve func(*http.Request) string, opts ...GateOption) func(http.Handler) http.Handler {
	g := newGate(opts)
	find := c.Tenant
	if g.bySlug {
		find = c.TenantBySlug
	}
	return c.middleware(g, func(r *http.Request) (context.Context, *Refusal) {
		t, err := find(r.Context(), resolve(r))
		switch {
		case errors.Is(err, ErrUnknownTenant):
			return nil, &Refusal{Status: http.StatusNotFound, Code: CodeUnknownTenant, Text: ErrUnknownTenant.Error()}
		case errors.Is(err, ErrAmbiguousTenant):
			return nil, &Refusal{Status: http.StatusConflict, Code: CodeAmbiguousTenant, Text: ErrAmbiguousTenant.Error()}
		case err != nil:
			return nil, c.unavailable(r, err)
		case t.Status == TenantDeleted:
			return nil, refusal(http.StatusNotFound, TenantDeleted)
		case !t.Active():
			return nil, refusal(http.StatusForbidden, t.Status)
		}
		return context.WithValue(r.Context(), tenantKey{}, t), nil
	})
}

// RequireAccess lets requests pass of people who may use the application in any
// tenant; identity tells the sub of a request's person, as your own
// authentication proved it. The decision is put into the context; see
// DecisionFrom. Others are answered:
//
//	401 no_identity         identity returned nothing
//	403 a Reason            access is denied
//	503 access_unavailable  the database could not be asked
func (c *Checker) RequireAccess(application string, identity func(*http.Request) string, opts ...GateOption) func(http.Handler) http.Handler {
	return c.requireAccess(opts, identity, func(r *http.Request, sub string) (Decision, error) {
		return c.Check(r.Context(), sub, application)
	})
}

// RequireAccessIn is RequireAccess for people who may use the application as one
// of a tenant, whose id tenant tells; TenantOf does so behind RequireTenant. A
// request without a tenant is denied.
func (c *Checker) RequireAccessIn(application string, identity, tenant func(*http.Request) string, opts ...GateOption) func(http.Handler) http.Handler {
	return c.requireAccess(opts, identity, func(r *http.Request, sub string) (Decision, error) {
		return c.CheckIn(r.Context(), sub, application, tenant(r))
	})
}

func (c *Checker) requireAccess(opts []GateOption, identity func(*http.Request) string, check func(*http.Request, string) (Decision, error)) func(http.Handler) http.Handler {
	return c.middleware(newGate(opts), func(r *http.Request) (context.Context, *Refusal) {
		sub := identity(r)
		if sub == "" {
			return nil, &Refusal{Status: http.StatusUnauthorized, Code: CodeNoIdentity, Text: "nobody is logged in"}
		}
		d, err := check(r, sub)
		switch {
		case err != nil:
			return nil, c.unavailable(r, err)
		case !d.Allowed:
			return nil, refusal(http.StatusForbidden, d.Reason)
		}
		return context.WithValue(r.Context(), decisionKey{}, d), nil
	})
}

// RequireFeature lets requests pass that are about a tenant whose plan has the
// feature; tenant tells its id, as TenantOf does behind RequireTenant. Others
// are answered:
//
//	403 feature_not_in_plan also for tenants that are unknown or not active
//	503 access_unavailable  the database could not be asked
func (c *Checker) RequireFeature(feature string, tenant func(*http.Request) string, opts ...GateOption) func(http.Handler) http.Handler {
	return c.middleware(newGate(opts), func(r *http.Request) (context.Context, *Refusal) {
		has, err := c.HasFeature(r.Context(), tenant(r), feature)
		switch {
		case err != nil:
			return nil, c.unavailable(r, err)
		case !has:
			return nil, &Refusal{Status: http.StatusForbidden, Code: CodeNoFeature, Text: "the tenant's plan does not have this feature"}
		}
		return r.Context(), nil
	})
}

func (c *Checker) middleware(g gate, pass func(*http.Request) (context.Context, *Refusal)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, no := pass(r)
			if no != nil {
				g.refuse(w, r, *no)
				return
			}
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

func refusal(status int, why Reason) *Refusal {
	return &Refusal{Status: status, Code: string(why), Text: why.Text()}
}

// unavailable is the answer when the database could not be asked. During an
// outage every request meets it, so the log gets a line in ten seconds.
func (c *Checker) unavailable(r *http.Request, err error) *Refusal {
	if r.Context().Err() == nil && c.complain.pass(c.now()) {
		c.log.Error().Err(err).Msg("access cannot be checked; requests get 503")
	}
	return &Refusal{Status: http.StatusServiceUnavailable, Code: CodeUnavailable, Text: "access cannot be checked at the moment", Err: err}
}

// retryAfter is what those are told whose access cannot be checked, in seconds.
const retryAfter = 5

// Write answers with JSON: {"error":"text for people","reason":"code"}.
func (no Refusal) Write(w http.ResponseWriter) {
	body, err := json.Marshal(struct {
		Error  string `json:"error"`
		Reason string `json:"reason"`
	}{no.Text, no.Code})
	if err != nil { // two texts: cannot happen
		http.Error(w, "an internal error", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store") // the next answer may be another one
	switch no.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	w.WriteHeader(no.Status)
	_, _ = w.Write(append(body, '\n')) // a client that has gone away
}

type (
	tenantKey   struct{}
	decisionKey struct{}
)

// TenantFrom returns the tenant that RequireTenant let pass.
func TenantFrom(ctx context.Context) (Tenant, bool) {
	t, ok := ctx.Value(tenantKey{}).(Tenant)
	return t, ok
}

// TenantOf returns the id of the tenant that RequireTenant let pass; empty
// without one.
func TenantOf(r *http.Request) string {
	t, _ := TenantFrom(r.Context())
	return t.ID
}

// DecisionFrom returns the decision by which RequireAccess or RequireAccessIn
// let a request pass.
func DecisionFrom(ctx context.Context) (Decision, bool) {
	d, ok := ctx.Value(decisionKey{}).(Decision)
	return d, ok
}

// throttle lets one through at once and then one in ten seconds.
type throttle struct{ last atomic.Int64 } // Unix nanoseconds; 0: never

func (t *throttle) pass(now time.Time) bool {
	at, last := now.UnixNano(), t.last.Load()
	return (last == 0 || at-last >= int64(10*time.Second)) && t.last.CompareAndSwap(last, at)
}
