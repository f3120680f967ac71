// Package stripefake is as much of Stripe as the connector in plugins/stripe
// uses, with a memory: customers, subscriptions, prices, prorations,
// idempotency keys, search that lags, limits, and a clock of its own. It is for
// tests and for `avhub dev`, and never moves money.
//
// It follows the API of version 2024-06-20 as its reference describes it. Where
// the reference is silent, it does what is harder for a client: it stores more
// answers under idempotency keys than Stripe may, and forgets none early.
package stripefake

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Options of a fake.
type Options struct {
	// Account is the id of the account; "acct_fake" if empty.
	Account string
	// Key is the only API key that is good; empty: every one that begins with
	// sk_test_ or rk_test_.
	Key string
	// Start is the time on the fake's clock at first; zero: now. The clock goes
	// on with real time, and Advance moves it.
	Start time.Time
	// SearchLag is how long what was written is not found by search. Stripe says
	// under a minute, ordinarily.
	SearchLag time.Duration
	// PerSecond is how many requests a second of real time are taken, any window
	// of a second; more are answered 429. 0: any number.
	PerSecond int
	// Prices are there from the beginning.
	Prices []Price
	// OnChange is told of each change of a subscription; nil: nobody is. It must
	// not wait, and not call the fake.
	OnChange func(Change)
}

// Request is a request that came in, as the log keeps it.
type Request struct {
	Method, Path string
	// Form has the parameters, of the query or of the body.
	Form           url.Values
	IdempotencyKey string
	// Status is the answer's; 0: the connection was cut.
	Status int
	// Replayed tells that the answer was one that was stored under the key.
	Replayed bool
	// Changed tells that something is different afterwards.
	Changed bool
}

// Operation is the request without ids: "POST /v1/customers/{id}".
func (r Request) Operation() string {
	parts := strings.Split(r.Path, "/")
	for i, p := range parts {
		if prefix, _, ok := strings.Cut(p, "_"); ok && (prefix == "cus" || prefix == "sub" || prefix == "price") {
			parts[i] = "{id}"
		}
	}
	return r.Method + " " + strings.Join(parts, "/")
}

// Server is a fake Stripe. It is an http.Handler, and safe for concurrent use.
type Server struct {
	opts Options

	mu            sync.Mutex
	offset        time.Duration // of the clock, from real time
	counter       int
	customers     []*customer
	subscriptions []*subscription
	schedules     map[string]*schedule
	clocks        []*testClock
	prices        []*Price
	lines         []Line
	answers       map[string]*answer
	faults        []*Fault
	log           []Request
	history       []Change
	events        []map[string]any // oldest first
	arrivals      []time.Time      // real time, within the last second
	limited       int
	working       string // idempotency key of the request that is worked on
	effects       int    // counts what was changed
}

// New makes a fake.
func New(opts Options) *Server {
	if opts.Account == "" {
		opts.Account = "acct_fake"
	}
	s := &Server{opts: opts, schedules: map[string]*schedule{}, answers: map[string]*answer{}}
	if !opts.Start.IsZero() {
		s.offset = time.Until(opts.Start)
	}
	for _, p := range opts.Prices {
		s.addPrice(p)
	}
	return s
}

// failure is an error of the API.
type failure struct {
	status      int
	Type        string `json:"type"`
	Code        string `json:"code,omitempty"`
	DeclineCode string `json:"decline_code,omitempty"`
	Message     string `json:"message"`
	Param       string `json:"param,omitempty"`
	unsaved     bool   // not stored under the idempotency key
	retryAfter  string
}

func (f *failure) Error() string { return f.Message }

func invalid(param, format string, args ...any) *failure {
	return &failure{status: http.StatusBadRequest, Type: "invalid_request_error", Param: param, Message: fmt.Sprintf(format, args...), unsaved: true}
}

func missing(what, id, param string) *failure {
	status := http.StatusNotFound
	if param != "id" {
		status = http.StatusBadRequest
	}
	return &failure{status: status, Type: "invalid_request_error", Code: "resource_missing", Param: param,
		Message: fmt.Sprintf("No such %s: '%s'", what, id)}
}

// maxBody bounds a request.
const maxBody = 1 << 20

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" {
		s.page(w)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	encoded := r.URL.RawQuery
	if len(body) > 0 {
		encoded = string(body)
	}
	form, err := url.ParseQuery(encoded)
	if err != nil {
		form = url.Values{}
	}
	req := Request{Method: r.Method, Path: r.URL.Path, Form: form, IdempotencyKey: r.Header.Get("Idempotency-Key")}
	key, _, _ := r.BasicAuth()
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		key = bearer
	}
	out := s.answer(&req, key)
	s.mu.Lock()
	req.Status, req.Replayed = out.status, out.replayed
	s.log = append(s.log, req)
	s.mu.Unlock()
	if out.status == 0 {
		panic(http.ErrAbortHandler) // the connection is cut
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Request-Id", fmt.Sprintf("req_fake%d", out.number))
	if out.replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	if out.retryAfter != "" {
		w.Header().Set("Retry-After", out.retryAfter)
	}
	w.WriteHeader(out.status)
	_, _ = w.Write(out.body)
}

// answer is what a request got, and what a key remembers.
type answer struct {
	status     int // 0: the connection is cut
	body       []byte
	retryAfter string
	replayed   bool
	number     int

	// of a stored one
	digest   string
	at       time.Time
	inFlight bool
}

func errorAnswer(f *failure) *answer {
	body, err := json.Marshal(map[string]any{"error": f})
	if err != nil {
		panic(err) // text alone
	}
	return &answer{status: f.status, body: body, retryAfter: f.retryAfter}
}

func (s *Server) answer(req *Request, key string) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counter++
	number := s.counter
	out := s.guarded(req, key)
	copied := *out
	copied.number = number
	return &copied
}

// guarded does what comes before the work: limits, keys, faults, idempotency.
func (s *Server) guarded(req *Request, key string) *answer {
	if s.tooMany() {
		s.limited++
		return errorAnswer(&failure{status: http.StatusTooManyRequests, Type: "invalid_request_error", Code: "rate_limit",
			Message: "Request rate limit exceeded."})
	}
	good := strings.HasPrefix(key, "sk_test_") || strings.HasPrefix(key, "rk_test_")
	if s.opts.Key != "" {
		good = key == s.opts.Key
	}
	if !good {
		return errorAnswer(&failure{status: http.StatusUnauthorized, Type: "invalid_request_error", Message: "Invalid API Key provided"})
	}
	fault := s.takeFault(*req)
	if fault != nil && !fault.AfterEffect && !fault.Saved {
		return fault.answer()
	}
	if req.Method == http.MethodGet || req.IdempotencyKey == "" {
		out := s.work(req)
		if fault != nil {
			return fault.answer()
		}
		return out
	}
	return s.once(req, fault)
}

// work does what was asked.
func (s *Server) work(req *Request) *answer {
	before := s.effects
	s.working = req.IdempotencyKey
	v, f := s.route(req)
	s.working = ""
	req.Changed = s.effects != before
	if f != nil {
		a := errorAnswer(f)
		if f.unsaved {
			a.at = time.Time{}
		} else {
			a.at = s.now()
		}
		return a
	}
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	return &answer{status: http.StatusOK, body: body, at: s.now()}
}

// tooMany counts a request against the limit.
func (s *Server) tooMany() bool {
	if s.opts.PerSecond == 0 {
		return false
	}
	now := time.Now()
	for len(s.arrivals) > 0 && now.Sub(s.arrivals[0]) >= time.Second {
		s.arrivals = s.arrivals[1:]
	}
	if len(s.arrivals) >= s.opts.PerSecond {
		return true
	}
	s.arrivals = append(s.arrivals, now)
	return false
}

// Requests returns the log, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.log...)
}

// Limited counts the requests that were over the limit.
func (s *Server) Limited() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limited
}

func (s *Server) newID(prefix string) string {
	s.counter++
	return fmt.Sprintf("%s_fake%06d", prefix, s.counter)
}
