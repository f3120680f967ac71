package stripefake

import (
	"maps"
	"net/http"
	"strings"
	"time"
)

// Customer is a customer, as tests see it.
type Customer struct {
	ID       string            `json:"id"`
	Email    string            `json:"email"`
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata"`
	Deleted  bool              `json:"deleted,omitempty"`
	Created  time.Time         `json:"-"`
}

type customer struct {
	Customer
	found time.Time // by search, from this time on
	// declines says why its card is declined; empty: it is not.
	declines string
	clock    *testClock // nil: the fake's own
}

func (s *Server) customer(id string) *customer {
	for _, c := range s.customers {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// customerJSON is a customer as the API shows it.
func (s *Server) customerJSON(c *customer, expand []string) map[string]any {
	if c.Deleted {
		return map[string]any{"id": c.ID, "object": "customer", "deleted": true}
	}
	out := map[string]any{
		"id": c.ID, "object": "customer", "email": nullable(c.Email), "name": nullable(c.Name), "metadata": c.Metadata,
		"created": c.Created.Unix(), "livemode": false, "delinquent": false,
	}
	for _, e := range expand {
		if e != "subscriptions" {
			continue
		}
		var data []any
		more := false
		for _, sub := range s.newest(func(x *subscription) bool { return x.customer == c.ID && !x.ended() }) {
			if len(data) == 10 {
				more = true
				break
			}
			data = append(data, s.subscriptionJSON(sub, nil))
		}
		out["subscriptions"] = listJSON("/v1/customers/"+c.ID+"/subscriptions", data, more)
	}
	return out
}

func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func listJSON(url string, data []any, more bool) map[string]any {
	if data == nil {
		data = []any{}
	}
	return map[string]any{"object": "list", "url": url, "data": data, "has_more": more}
}

func (s *Server) createCustomer(p *params) (any, *failure) {
	c := &customer{Customer: Customer{Metadata: map[string]string{}}}
	if id := p.text("test_clock"); id != "" {
		if c.clock = s.testClock(id); c.clock == nil {
			return nil, missing("test_clock", id, "test_clock")
		}
	}
	if f := setCustomer(c, p); f != nil {
		return nil, f
	}
	c.ID, c.Created = s.newID("cus"), s.now()
	c.found = s.now().Add(s.opts.SearchLag)
	s.customers = append(s.customers, c)
	s.effects++
	return s.customerJSON(c, nil), nil
}

func setCustomer(c *customer, p *params) *failure {
	name, email := c.Name, c.Email
	if p.has("name") {
		name = p.text("name")
	}
	if p.has("email") {
		email = p.text("email")
		if email != "" && (!strings.Contains(email, "@") || strings.ContainsAny(email, " <>")) {
			return &failure{status: http.StatusBadRequest, Type: "invalid_request_error", Code: "email_invalid", Param: "email", Message: "Invalid email address", unsaved: true}
		}
	}
	if p.has("description") {
		_ = p.text("description")
	}
	set := p.members("metadata")
	if f := p.rest(); f != nil {
		return f
	}
	c.Name, c.Email = name, email
	setMetadata(c.Metadata, set)
	return nil
}

func (s *Server) updateCustomer(id string, p *params) (any, *failure) {
	c := s.customer(id)
	if c == nil || c.Deleted {
		return nil, missing("customer", id, "id")
	}
	before := c.Customer
	before.Metadata = maps.Clone(c.Metadata)
	if f := setCustomer(c, p); f != nil {
		return nil, f
	}
	if before.Name != c.Name || before.Email != c.Email || !maps.Equal(before.Metadata, c.Metadata) {
		c.found = s.now().Add(s.opts.SearchLag)
		s.effects++
	}
	return s.customerJSON(c, nil), nil
}

func (s *Server) getCustomer(id string, p *params) (any, *failure) {
	expand := p.list("expand")
	c := s.customer(id)
	if c == nil {
		return nil, missing("customer", id, "id")
	}
	if f := p.rest(); f != nil {
		return nil, f
	}
	return s.customerJSON(c, expand), nil
}

func (s *Server) deleteCustomer(id string) (any, *failure) {
	c := s.customer(id)
	if c == nil || c.Deleted {
		return nil, missing("customer", id, "id")
	}
	for _, sub := range s.subscriptions {
		if sub.customer == id && !sub.ended() {
			s.end(sub, "canceled")
		}
	}
	c.Deleted = true
	s.effects++
	return s.customerJSON(c, nil), nil
}

func (s *Server) listCustomers(p *params) (any, *failure) {
	email, after, clock := p.text("email"), p.text("starting_after"), p.text("test_clock")
	limit, f := p.number("limit", 10)
	if f == nil {
		f = p.rest()
	}
	if f != nil {
		return nil, f
	}
	var all []*customer
	for i := len(s.customers) - 1; i >= 0; i-- {
		// Unlike names, e-mail addresses are compared to the letter.
		if c := s.customers[i]; !c.Deleted && c.lives(clock) && (email == "" || c.Email == email) {
			all = append(all, c)
		}
	}
	page, more := pageOf(all, func(c *customer) string { return c.ID }, after, int(limit))
	var data []any
	for _, c := range page {
		data = append(data, s.customerJSON(c, nil))
	}
	return listJSON("/v1/customers", data, more), nil
}

// pageOf is a page of a list, newest first.
func pageOf[T any](all []T, id func(T) string, after string, limit int) ([]T, bool) {
	limit = max(1, min(limit, 100))
	if after != "" {
		for i, x := range all {
			if id(x) == after {
				all = all[i+1:]
				break
			}
		}
	}
	if len(all) > limit {
		return all[:limit], true
	}
	return all, false
}
