package stripefake

import "net/http"

// Fault is something that goes wrong with requests.
type Fault struct {
	// Match chooses requests; nil: every one.
	Match func(Request) bool
	// Times is how often it happens; 0: once; negative: for ever.
	Times int
	// AfterEffect: the work is done first, and what is answered then is wrong.
	AfterEffect bool
	// Saved: the answer is stored under the idempotency key, as Stripe stores a
	// 500 of a request that had begun.
	Saved bool
	// Cut closes the connection instead of answering.
	Cut bool
	// Hold keeps the request in flight until it is closed; then it is worked on.
	Hold chan struct{}
	// Status, Type, Code, DeclineCode and Message are the answer.
	Status                           int
	Type, Code, DeclineCode, Message string
	// RetryAfter is that header.
	RetryAfter string
}

// Fail adds a fault. Faults are asked in the order in which they were added.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
	}
	if f.Hold != nil {
		f.Saved, f.AfterEffect = false, true
	}
	s.faults = append(s.faults, &f)
}

// Heal takes all faults away.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) takeFault(req Request) *Fault {
	for _, f := range s.faults {
		if f.Times == 0 || f.Match != nil && !f.Match(req) {
			continue
		}
		f.Times--
		return f
	}
	return nil
}

func (f *Fault) answer() *answer {
	if f.Cut {
		return &answer{}
	}
	typ := f.Type
	if typ == "" {
		typ = "api_error"
		if f.Status == http.StatusPaymentRequired {
			typ = "card_error"
		}
	}
	return errorAnswer(&failure{status: f.Status, Type: typ, Code: f.Code, DeclineCode: f.DeclineCode, Message: f.Message, retryAfter: f.RetryAfter})
}

// On chooses requests by their operation, such as "POST /v1/customers".
func On(operation string) func(Request) bool {
	return func(r Request) bool { return r.Operation() == operation }
}
