package main

import (
	"time"
)

// state is what is remembered for a tenant. Operators read it with
// `avhub plugin state`; Stripe itself is the truth.
type state struct {
	Account      string     `json:"account,omitempty"`
	Customer     string     `json:"customer,omitempty"`
	Subscription string     `json:"subscription,omitempty"`
	Plan         string     `json:"plan,omitempty"`
	Items        []stateRow `json:"items,omitempty"`
	Status       string     `json:"status,omitempty"`
	PeriodEnd    *time.Time `json:"period_end,omitempty"`
	// Ending: this connector lets the subscription end with its period.
	Ending bool `json:"ending,omitempty"`
	// Link leads to the customer in Stripe's dashboard.
	Link string `json:"link,omitempty"`
	// Drift is what somebody changed in Stripe, as it was seen last.
	Drift   []string `json:"drift,omitempty"`
	Finding *finding `json:"finding,omitempty"`

	// Settled is the fingerprint of the desired state that holds, and Base the
	// same without seats. Seen is the revision of that state.
	Settled string `json:"settled,omitempty"`
	Base    string `json:"base,omitempty"`
	Seen    int64  `json:"seen,omitempty"`

	// Pending is what is about to be created.
	Pending *intent `json:"pending,omitempty"`
	// CustomerGen and SubscriptionGen count what was created: one more makes
	// another idempotency key. Attempt does so for a request that Stripe answers
	// with an old failure.
	CustomerGen     int64 `json:"customer_generation,omitempty"`
	SubscriptionGen int64 `json:"subscription_generation,omitempty"`
	Attempt         int   `json:"attempt,omitempty"`
	// Refused counts answers 429 in a row.
	Refused int `json:"refused,omitempty"`
	// Written and Invoiced are when quantities were written in the last hour,
	// and invoices made at once in the last day, in Unix seconds.
	Written  []int64 `json:"written,omitempty"`
	Invoiced []int64 `json:"invoiced,omitempty"`
}

type stateRow struct {
	Price    string `json:"price"`
	Quantity int64  `json:"quantity"`
}

// intent is a request that creates something, noted before it is sent, so that
// the very same one can be sent after a crash.
type intent struct {
	Op  op        `json:"op"`
	Key string    `json:"key"`
	At  time.Time `json:"at"`
	// Tried: it was sent, and nobody knows what came of it.
	Tried bool `json:"tried,omitempty"`
}

const (
	// believed is how long Stripe certainly knows an idempotency key; it forgets
	// them after 24 hours.
	believed = 23 * time.Hour
	// findable is how old something has to be for search to find it.
	findable = 2 * time.Minute

	// What Stripe takes of one subscription.
	maxQuantityWrites    = 200 // an hour
	maxInvoicesPerMinute = 10
	maxInvoicesPerDay    = 20
)

// since drops what is older than d, and counts what is left.
func since(times *[]int64, now time.Time, d time.Duration) int {
	from := now.Add(-d).Unix()
	kept := (*times)[:0]
	for _, t := range *times {
		if t > from {
			kept = append(kept, t)
		}
	}
	if *times = kept; len(kept) == 0 {
		*times = nil
	}
	return len(kept)
}

// mayInvoice tells whether Stripe would make one more invoice for the
// subscription now.
func (st *state) mayInvoice(now time.Time) bool {
	minute := 0
	for _, t := range st.Invoiced {
		if t > now.Add(-time.Minute).Unix() {
			minute++
		}
	}
	return since(&st.Invoiced, now, 24*time.Hour) < maxInvoicesPerDay && minute < maxInvoicesPerMinute
}

// wrote notes what an operation has used up.
func (st *state) wrote(o op, now time.Time) {
	if o.Counts || o.Kind == createSubscription {
		st.Written = append(st.Written, now.Unix())
	}
	if o.Invoices {
		st.Invoiced = append(st.Invoiced, now.Unix())
	}
}

// waitForQuantity is how long a change of seats alone has to wait: for the time
// within which changes are one, or for Stripe's limit.
func (st *state) waitForQuantity(now time.Time, coalesce time.Duration) (time.Duration, string) {
	n := since(&st.Written, now, time.Hour)
	if n == 0 {
		return 0, ""
	}
	if n >= maxQuantityWrites {
		return time.Unix(st.Written[0], 0).Add(time.Hour).Sub(now) + time.Second, "Stripe takes 200 changes of a subscription's quantity an hour"
	}
	return time.Unix(st.Written[n-1], 0).Add(coalesce).Sub(now), "seats that change at short intervals are one change"
}

// holds notes what Stripe holds now.
func (st *state) holds(want desired, have observed, dashboard string) {
	lost := st.Subscription
	st.Status, st.PeriodEnd, st.Items, st.Plan, st.Ending, st.Subscription = "", nil, nil, want.Plan, false, ""
	if have.Customer != nil && !have.Customer.Deleted {
		st.Customer = have.Customer.ID
		st.Link = dashboard + "/customers/" + have.Customer.ID
	}
	if want.Gone {
		st.Status, st.Plan = "deleted", ""
		return
	}
	st.Status = "free"
	s := have.Sub
	if s == nil {
		if have.Lost && len(want.Lines) > 0 {
			st.Subscription, st.Status = lost, "ended in Stripe"
		}
		return
	}
	st.Subscription, st.Status = s.ID, s.Status
	if s.Pause != "" {
		st.Status += ", paused"
	}
	if s.CancelAtEnd {
		st.Status += ", ends with its period"
		st.Ending = s.Metadata[metaEnd] == "true"
	}
	end := time.Unix(s.PeriodEnd, 0).UTC()
	st.PeriodEnd = &end
	for _, it := range s.Items {
		st.Items = append(st.Items, stateRow{it.Price, it.Quantity})
	}
}
