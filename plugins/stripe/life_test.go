package main

import "testing"

const serveVar = "STRIPE_TEST_SERVE"

func serveForATest(string) {}

func TestASignedUpTenantBecomesACustomerAndPaysOnceItHasAPlan(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	org := r.company("t1")
	r.tell(org)
	equal(t, "requests of a new tenant", r.requests(0), []string{"GET /v1/account", "GET /v1/customers", "POST /v1/customers"})
	n := r.mark()
	org.Plan = "pro"
	seats(&org, 3)
	r.tell(org)
	equal(t, "requests of an upgrade", r.requests(n), []string{"GET /v1/customers/{id}", "GET /v1/prices", "POST /v1/subscriptions"})
	equal(t, "what is paid for", r.sub("t1").Sold, "pro×1 seat×3")
	n = r.mark()
	r.tell(org)
	equal(t, "requests of nothing new", r.requests(n), nil)
	seats(&org, 5)
	r.tell(org)
	org.Plan = "enterprise"
	r.tell(org)
	org.Plan = "free"
	r.tell(org)
	org.Plan = "pro"
	r.tell(org)
	org.Status = "suspended"
	r.tell(org)
	org.Status = "active"
	r.tell(org)
	r.settled(r.deliver(r.event("tenant.deleted", "t1", nil)))
	equal(t, "history", r.fake.History("t1"), []string{"created pro×1 seat×3", "pro×1 seat×3 → pro×1 seat×5", "pro×1 seat×5 → enterprise×1 seat×10",
		"to end with the period", "enterprise×1 seat×10 → pro×1 seat×5", "not to end after all", "paused: void", "collecting again", "ended"})
	t.Log(string(r.states["tenant:t1"]))
	t.Log(r.fake.Counts())
}
