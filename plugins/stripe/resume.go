package main

import (
	"context"
	"fmt"
	"time"

	stripe "github.com/stripe/stripe-go/v79"
)

// observe looks at what Stripe holds for the tenant.
func (r *run) observe(ctx context.Context) error {
	st, same := r.st, r.have.Same
	r.have, r.known = observed{Same: same}, true
	if st.Customer == "" {
		// What was just created cannot be found by search, and need not be: nobody
		// but this connector makes customers for tenants that are so young.
		search := r.want.Gone || !r.created.IsZero() && r.c.now().Sub(r.created) > findable
		ids, err := r.c.eyes.find(ctx, r.want.Tenant, r.want.Email, search)
		if err != nil {
			r.known = false
			return err
		}
		if len(ids) == 0 {
			return nil
		}
		st.Customer, r.have.Doubles = ids[0], ids[1:]
	}
	doubles := r.have.Doubles
	have, err := r.c.eyes.customer(ctx, r.want.Tenant, st.Customer)
	if err != nil {
		r.known = false
		return err
	}
	r.have = have
	r.have.Same, r.have.Doubles = same, doubles
	if have.Customer == nil || have.Customer.Deleted {
		// Its subscriptions went with it. A constant key would bring back the id of
		// the deleted one for a day, hence another generation.
		if !r.want.Gone {
			st.CustomerGen++
			st.SubscriptionGen++
		}
		st.Customer, st.Subscription, st.Ending = "", "", false
		return nil
	}
	r.have.Lost = have.Sub == nil && st.Subscription != "" && !st.Ending
	return nil
}

// resume does what was intended when the connector was interrupted, or has just
// noted: the same request under the same key. Where too much time has passed, or
// the outcome is in doubt, it looks first.
func (r *run) resume(ctx context.Context) error {
	p := r.st.Pending
	age := r.c.now().Sub(p.At)
	if p.Tried || age >= believed {
		found, err := r.lookFor(ctx, p, age)
		if err != nil {
			return err
		}
		if found || age >= believed {
			r.st.Pending = nil
			r.bump(p.Op.Kind)
			return nil // the plan finds what is left to do
		}
	}
	if p.Op.Kind == createCustomer {
		return r.makeCustomer(ctx, p)
	}
	return r.makeSubscription(ctx, p)
}

// lookFor looks whether what was intended is there.
func (r *run) lookFor(ctx context.Context, p *intent, age time.Duration) (bool, error) {
	if p.Op.Kind == createCustomer {
		ids, err := r.c.eyes.find(ctx, r.want.Tenant, emailOf(p.Op, r.want.Email), age >= findable)
		if err != nil || len(ids) == 0 {
			return false, err
		}
		r.st.Customer = ids[0]
		return true, nil
	}
	if err := r.observe(ctx); err != nil {
		return false, err
	}
	if r.have.Customer == nil || r.have.Customer.Deleted || r.have.Sub != nil {
		return true, nil
	}
	r.have.Lost = false
	return false, nil
}

// emailOf is the e-mail address that a customer was to be made with, which may
// not be the tenant's any more.
func emailOf(o op, otherwise string) string {
	for _, kv := range o.Form {
		if kv[0] == "email" {
			return kv[1]
		}
	}
	return otherwise
}

func (r *run) makeCustomer(ctx context.Context, p *intent) error {
	var got stripe.Customer
	replayed, err := r.c.api.send(ctx, p.Op, p.Key, &got)
	if err != nil {
		return r.recover(ctx, p, err)
	}
	r.st.Customer, r.st.Pending, r.altered = got.ID, nil, true
	r.bump(createCustomer)
	if !replayed {
		r.have = observed{Customer: customerOf(&got), Trusted: true, Same: r.have.Same}
		r.known = true
	}
	return nil
}

func (r *run) makeSubscription(ctx context.Context, p *intent) error {
	var got stripe.Subscription
	replayed, err := r.c.api.send(ctx, p.Op, p.Key, &got)
	if err != nil {
		return r.recover(ctx, p, err)
	}
	r.st.Subscription, r.st.Ending, r.st.Pending, r.altered = got.ID, false, nil, true
	r.st.wrote(p.Op, r.c.now())
	r.bump(createSubscription)
	if replayed {
		r.st.Subscription = "" // it may be over by now
		r.known = false
		return nil
	}
	sub := subscriptionOf(&got)
	r.have = observed{Customer: &customer{ID: r.st.Customer}, Trusted: true, Sub: &sub, Same: r.have.Same}
	r.known = true
	return nil
}

// recover makes what it can of a creation that failed; nil: go on.
func (r *run) recover(ctx context.Context, p *intent, err error) error {
	again, err := r.failed(ctx, p.Op, err)
	if err == nil && !again {
		return fmt.Errorf("%s failed without an error", p.Op.Kind) // cannot be
	}
	return err
}
