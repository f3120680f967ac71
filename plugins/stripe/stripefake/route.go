package stripefake

import (
	"net/http"
	"strings"
)

// route finds who answers a request.
func (s *Server) route(req *Request) (any, *failure) {
	p := newParams(req.Form)
	parts := strings.Split(strings.TrimPrefix(req.Path, "/v1/"), "/")
	if len(parts) > 1 && parts[0] == "test_helpers" && parts[1] == "test_clocks" {
		return s.routeClock(req.Method, parts[2:], p)
	}
	id := ""
	if len(parts) > 1 {
		id = parts[1]
		if id != "search" && id != "upcoming" {
			parts[1] = "{id}"
		}
	}
	switch req.Method + " " + strings.Join(parts, "/") {
	case "GET account":
		return map[string]any{"id": s.opts.Account, "object": "account", "charges_enabled": true, "settings": map[string]any{
			"dashboard": map[string]any{"display_name": "Simulated"}}}, nil
	case "GET customers":
		return s.listCustomers(p)
	case "GET customers/search":
		return s.searchCustomers(p)
	case "POST customers":
		return s.createCustomer(p)
	case "GET customers/{id}":
		return s.getCustomer(id, p)
	case "POST customers/{id}":
		return s.updateCustomer(id, p)
	case "DELETE customers/{id}":
		return s.deleteCustomer(id)
	case "GET subscriptions":
		return s.listSubscriptions(p)
	case "POST subscriptions":
		return s.createSubscription(p)
	case "GET subscriptions/{id}":
		if x := s.subscription(id); x != nil {
			return s.subscriptionJSON(x, p.list("expand")), nil
		}
		return nil, missing("subscription", id, "id")
	case "POST subscriptions/{id}":
		return s.updateSubscription(id, p)
	case "DELETE subscriptions/{id}":
		return s.cancelSubscription(id, p)
	case "GET prices":
		return s.listPrices(p)
	case "POST prices":
		return s.createPrice(p)
	case "GET prices/{id}":
		return s.getPrice(id)
	case "GET events":
		return s.listEvents(p)
	case "GET invoices/upcoming":
		return s.upcoming(p)
	case "POST subscription_schedules/{id}/release":
		return s.releaseSchedule(id)
	}
	return nil, &failure{status: http.StatusNotFound, Type: "invalid_request_error",
		Message: "Unrecognized request URL (" + req.Method + ": " + req.Path + "). The simulated Stripe knows only what the connector uses.", unsaved: true}
}

func (s *Server) releaseSchedule(id string) (any, *failure) {
	sched := s.schedules[id]
	if sched == nil {
		return nil, missing("subscription_schedule", id, "id")
	}
	if sched.status != "active" {
		return nil, invalid("", "You cannot release a subscription schedule that is currently in the `%s` status.", sched.status)
	}
	sched.status = "released"
	x := s.subscription(sched.subscription)
	x.schedule = ""
	s.changed(x, "released from its schedule")
	return map[string]any{"id": id, "object": "subscription_schedule", "status": "released", "released_subscription": x.id}, nil
}
