package stripefake

import (
	"strconv"
	"time"
)

// testClock is a clock of its own that some customers live by, as test mode has
// it. Their subscriptions stand still until it is moved on.
type testClock struct {
	id, name string
	created  time.Time // by the fake's own clock
	frozen   time.Time
	// advancing: the next look still says so, as Stripe takes its time.
	advancing bool
}

func (s *Server) testClock(id string) *testClock {
	for _, c := range s.clocks {
		if c.id == id {
			return c
		}
	}
	return nil
}

func (c *testClock) json() map[string]any {
	status := "ready"
	if c.advancing {
		status = "advancing"
	}
	return map[string]any{"id": c.id, "object": "test_helpers.test_clock", "name": nullable(c.name), "status": status,
		"frozen_time": c.frozen.Unix(), "created": c.created.Unix(), "livemode": false}
}

// at is the time that a customer lives in.
func (s *Server) at(customerID string) time.Time {
	if c := s.customer(customerID); c != nil && c.clock != nil {
		return c.clock.frozen
	}
	return s.now()
}

// lives tells whether a customer belongs to a clock; the empty one is the fake's
// own. A list shows the customers of one clock alone.
func (c *customer) lives(clock string) bool {
	if c.clock == nil {
		return clock == ""
	}
	return c.clock.id == clock
}

// routeClock answers what is below /v1/test_helpers/test_clocks.
func (s *Server) routeClock(method string, parts []string, p *params) (any, *failure) {
	if len(parts) == 0 {
		if method == "POST" {
			return s.createClock(p)
		}
		_, f := p.number("limit", 10)
		if f == nil {
			f = p.rest()
		}
		if f != nil {
			return nil, f
		}
		var data []any
		for _, c := range s.clocks {
			data = append(data, c.json())
		}
		return listJSON("/v1/test_helpers/test_clocks", data, false), nil
	}
	c := s.testClock(parts[0])
	if c == nil {
		return nil, missing("test_clock", parts[0], "id")
	}
	switch {
	case method == "POST" && len(parts) == 2:
		return s.advanceClock(c, p)
	case method == "DELETE":
		for _, who := range s.customers {
			if who.clock == c && !who.Deleted {
				if _, f := s.deleteCustomer(who.ID); f != nil {
					return nil, f
				}
			}
		}
		for i := range s.clocks {
			if s.clocks[i] == c {
				s.clocks = append(s.clocks[:i:i], s.clocks[i+1:]...)
				break
			}
		}
		s.effects++
		return map[string]any{"id": c.id, "object": "test_helpers.test_clock", "deleted": true}, nil
	}
	out := c.json()
	c.advancing = false
	return out, nil
}

func (s *Server) createClock(p *params) (any, *failure) {
	frozen, name := p.text("frozen_time"), p.text("name")
	if f := p.rest(); f != nil {
		return nil, f
	}
	at, err := strconv.ParseInt(frozen, 10, 64)
	if err != nil {
		return nil, invalid("frozen_time", "Missing required param: frozen_time.")
	}
	c := &testClock{id: s.newID("clock"), name: name, created: s.now(), frozen: time.Unix(at, 0).UTC()}
	s.clocks = append(s.clocks, c)
	s.effects++
	return c.json(), nil
}

// advanceClock lets happen what falls due until then. Stripe takes two periods
// at most.
func (s *Server) advanceClock(c *testClock, p *params) (any, *failure) {
	to, f := p.number("frozen_time", 0)
	if f == nil {
		f = p.rest()
	}
	if f != nil {
		return nil, f
	}
	until := time.Unix(to, 0).UTC()
	switch {
	case c.advancing:
		return nil, &failure{status: 429, Type: "invalid_request_error", Message: "The test clock is advancing.", unsaved: true}
	case until.Before(c.frozen):
		return nil, invalid("frozen_time", "A test clock cannot go back.")
	case until.After(c.frozen.AddDate(0, 2, 1)):
		return nil, invalid("frozen_time", "A test clock can be advanced by two intervals of its shortest subscription at most.")
	}
	s.dueUntil(func(x *subscription) bool { return s.customer(x.customer).clock == c }, until, func(to time.Time) { c.frozen = to })
	c.frozen, c.advancing = until, true
	s.effects++
	return c.json(), nil
}
