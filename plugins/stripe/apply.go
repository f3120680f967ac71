package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	stripe "github.com/stripe/stripe-go/v79"
)

var (
	errUnchanged = errors.New("nothing to do")
	errStale     = errors.New("newer events were here before")
	// errIntent: what is about to be created is noted, and has to be saved.
	errIntent = errors.New("the intent has to be saved")
)

// run brings one tenant in line, within one delivery.
type run struct {
	c        *connector
	want     desired
	st       *state
	revision int64 // of the event
	created  time.Time
	replay   bool

	account  string
	have     observed
	known    bool // have is how it stands
	findings []finding
	altered  bool
}

// lookAgain bounds how long the hub leaves a tenant alone whose seats wait. What
// else happens to it meanwhile, as a suspension, stands behind them in its lane;
// a look at the tenant as it stands by then lets it through, and costs Stripe no
// request if there is nothing but seats.
const lookAgain = 5 * time.Second

// maxRounds bounds looking and acting within a delivery: what Stripe holds may
// change in between.
const maxRounds = 6

func (r *run) converge(ctx context.Context) error {
	st, now := r.st, r.c.now()
	if r.replay {
		// An operator says that this is to be looked at, whatever was there before.
		r.want.Revision = 0
	}
	if r.want.Revision > 0 && st.Seen > r.want.Revision {
		return errStale
	}
	settled, base := r.want.fingerprint(true), r.want.fingerprint(false)
	if st.Pending == nil && !r.replay {
		if st.Settled == settled {
			return errUnchanged
		}
		if st.Settled != "" && st.Base == base && st.Subscription != "" {
			if wait, why := st.waitForQuantity(now, r.c.cfg.Coalesce); wait > 0 {
				return &waitError{min(wait, lookAgain), why}
			}
		}
	}
	var err error
	if r.account, err = r.c.whose(ctx, st.Account); err != nil {
		return err
	}
	st.Account = r.account
	r.have.Same = st.Base == base
	done := false
	if st.Pending != nil {
		err = r.resume(ctx)
	}
	for n := 0; !done && err == nil; n++ {
		if n == maxRounds {
			return errors.New("what Stripe holds for the tenant changed each time it was looked at")
		}
		done, err = r.round(ctx)
	}
	switch {
	case errors.Is(err, errFinding): // as far as it can be, until something changes
	case err != nil:
		return err
	default:
		st.Attempt = 0
	}
	st.Settled, st.Base, st.Seen = settled, base, max(st.Seen, r.want.Revision)
	r.conclude()
	return nil
}

// round looks, plans and acts once. done: it is as it should be.
func (r *run) round(ctx context.Context) (done bool, err error) {
	if !r.known {
		if err := r.observe(ctx); err != nil {
			return false, err
		}
	}
	want, p := r.want, r.c.cfg.policy(r.c.now())
	var items []sold
	if !want.Gone {
		if items, err = r.c.catalog.resolve(ctx, want); err != nil {
			return false, err
		}
		if len(items) == 0 && p.Free.Policy == "zero_price" && r.have.Sub != nil {
			if p.FreePrice, err = r.c.catalog.price(ctx, r.c.cfg.Free.ref(), "free.price"); err != nil {
				return false, err
			}
		}
	}
	var notes []finding
	if want.Terms.Proration == "always_invoice" && !r.st.mayInvoice(r.c.now()) {
		want.Terms.Proration = "create_prorations"
		notes = append(notes, finding{"invoice_ration", "Stripe makes 10 invoices a minute and 20 a day for a subscription; this change comes with the next invoice"})
	}
	ops, findings := plan(want, items, r.have, p)
	r.findings = append(notes, findings...)
	for _, f := range findings {
		if f.Code == "newer_revision" {
			return false, errStale
		}
	}
	if len(ops) == 0 {
		return true, nil
	}
	for _, o := range ops {
		if o.Kind.creates() {
			return false, r.intend(o)
		}
		again, err := r.do(ctx, o)
		if err != nil || again {
			return false, err
		}
	}
	return true, nil
}

// intend notes what is about to be created.
func (r *run) intend(o op) error {
	gen := r.st.SubscriptionGen
	if o.Kind == createCustomer {
		gen = r.st.CustomerGen
	}
	r.st.Pending = &intent{Op: o, Key: keyOf(r.account, o, r.want.Tenant, gen, r.st.Attempt), At: r.c.now().UTC()}
	return errIntent
}

// do sends a request that changes what is there. again: look anew.
func (r *run) do(ctx context.Context, o op) (again bool, err error) {
	if o.Ends {
		if err := r.c.guard.allow(ctx); err != nil {
			return false, err
		}
	}
	key := keyOf(r.account, o, r.want.Tenant, r.revision, r.st.Attempt)
	var replayed bool
	switch o.Kind {
	case updateCustomer:
		var got stripe.Customer
		if replayed, err = r.c.api.send(ctx, o, key, &got); err == nil {
			r.have.Customer = customerOf(&got)
		}
	case deleteCustomer:
		var got stripe.Customer
		if replayed, err = r.c.api.send(ctx, o, key, &got); err == nil {
			r.have.Customer.Deleted = true
		}
	case releaseSchedule:
		var got stripe.SubscriptionSchedule
		replayed, err = r.c.api.send(ctx, o, key, &got)
	default:
		var got stripe.Subscription
		if replayed, err = r.c.api.send(ctx, o, key, &got); err == nil {
			sub := subscriptionOf(&got)
			r.have.Sub = &sub
			if sub.over() {
				r.have.Sub = nil
			}
		}
	}
	if err != nil {
		return r.failed(ctx, o, err)
	}
	r.altered = true
	r.st.wrote(o, r.c.now())
	if replayed {
		// It was done before, or an equal change was: only a look can tell.
		r.st.Attempt++
		r.known = false
		return true, nil
	}
	return false, nil
}

// failed makes what it can of a request that failed. again: look anew.
func (r *run) failed(ctx context.Context, o op, err error) (again bool, _ error) {
	doing := fmt.Errorf("%s: %w", o.Kind, err)
	var e *apiError
	if !errors.As(err, &e) {
		return false, doing
	}
	forget := func() {
		if r.st.Pending != nil {
			r.st.Pending = nil
			r.bump(o.Kind)
		}
	}
	switch {
	case e.Status == http.StatusPaymentRequired:
		forget()
		r.st.Attempt++
		r.findings = append(r.findings, finding{"card_declined", fmt.Sprintf("%s: %s", o.Kind, cut(e.Message, 200))})
		return false, errFinding
	case e.Code == string(stripe.ErrorCodeResourceMissing) && e.Param == "" && e.Status == http.StatusBadRequest:
		forget()
		r.st.Attempt++
		r.findings = append(r.findings, finding{"no_payment_method", fmt.Sprintf("%s: %s", o.Kind, cut(e.Message, 200))})
		return false, errFinding
	case e.price():
		forget()
		r.c.catalog.forget()
		r.known = false
		if items, err := r.c.catalog.resolve(ctx, r.want); err != nil || !o.sells(items) {
			return true, err // a lookup key has moved on to another price
		}
		return false, fmt.Errorf("%w: plan %s: %s. Running subscriptions stay as they are", errCatalog, r.want.Plan, cut(e.Message, 200))
	case e.missing("id", "customer", "items[0][id]"), e.Status == http.StatusNotFound && e.Code == string(stripe.ErrorCodeResourceMissing):
		forget()
		r.known = false
		return true, nil
	case e.Status == 0 || e.Status >= http.StatusInternalServerError:
		if r.st.Pending != nil {
			r.st.Pending.Tried = true
		}
		if e.Replayed {
			// Stripe would say the same for a day.
			r.st.Attempt++
			if p := r.st.Pending; p != nil {
				r.st.Pending = nil
				_ = r.intend(p.Op)
				r.st.Pending.Tried = true
			}
		}
	case e.Type == "idempotency_error" && e.Status == http.StatusBadRequest:
		// It cannot be, as the key holds a hash of the parameters; but standing
		// still over it would be worse than another key.
		r.st.Attempt++
		r.st.Pending = nil
	case e.Status == http.StatusBadRequest || e.Status == http.StatusNotFound:
		forget()
	}
	return false, doing
}

// errFinding ends a run whose tenant is as it should be but for a finding.
var errFinding = errors.New("settled with a finding")

// bump makes the next thing that is created another one.
func (r *run) bump(kind opKind) {
	if kind == createCustomer {
		r.st.CustomerGen++
	} else {
		r.st.SubscriptionGen++
	}
}

// conclude notes how it stands.
func (r *run) conclude() {
	if r.known {
		r.st.holds(r.want, r.have, r.c.cfg.dashboard())
	}
	r.st.Finding, r.st.Drift = nil, nil
	for _, f := range r.findings {
		r.c.metrics.finding(f)
		if r.st.Finding == nil {
			r.st.Finding = &f
		}
		if len(r.st.Drift) < 10 && len(f.Code) > 6 && f.Code[:6] == "drift_" {
			r.st.Drift = append(r.st.Drift, f.Code[6:]+": "+f.Text)
		}
		r.c.log.Warn("a finding", "tenant", r.want.Tenant, "code", f.Code, "finding", f.Text)
	}
	outcome := "unchanged"
	if r.altered {
		outcome = "changed"
	}
	r.c.metrics.tenant(outcome)
}
