package stripefake

import "time"

func (s *Server) now() time.Time { return time.Now().Add(s.offset).UTC().Truncate(time.Second) }

// Now is the time on the fake's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// Advance moves the clock, and lets happen what falls due: periods end,
// invoices are made, subscriptions end.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.now().Add(d)
	s.dueUntil(func(x *subscription) bool { return s.customer(x.customer).clock == nil }, until, func(to time.Time) { s.offset += to.Sub(s.now()) })
	s.offset += until.Sub(s.now())
}

// dueUntil ends periods of the subscriptions that live by one clock, in their
// order. set moves that clock.
func (s *Server) dueUntil(lives func(*subscription) bool, until time.Time, set func(to time.Time)) {
	for {
		var next *subscription
		for _, x := range s.subscriptions {
			if !x.ended() && lives(x) && !x.ends.After(until) && (next == nil || x.ends.Before(next.ends)) {
				next = x
			}
		}
		if next == nil {
			return
		}
		set(next.ends)
		s.periodEnds(next)
	}
}

func (s *Server) periodEnds(x *subscription) {
	if x.cancelAtEnd {
		s.end(x, "canceled")
		return
	}
	if x.status == "trialing" {
		x.status, x.trialEnd = "active", time.Time{}
	}
	x.begins = x.ends
	x.ends = x.nextEnd(x.begins)
	s.invoice(x)
}
