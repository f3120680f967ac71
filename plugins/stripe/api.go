package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	stripe "github.com/stripe/stripe-go/v79"
	"github.com/stripe/stripe-go/v79/form"
)

// api sends requests to Stripe, in step with its limits. It repeats nothing by
// itself: what a failure means is decided where more is known.
type api struct {
	key     string
	backend stripe.Backend
	client  *http.Client
	limit   *limiter
	search  *limiter
	metrics *metrics
}

func newAPI(cfg config, m *metrics) *api {
	rate := cfg.RequestsPerSecond
	if rate == 0 {
		rate = testRate
		if cfg.live() {
			rate = liveRate
		}
	}
	client := &http.Client{
		Timeout:   cfg.Timeout,
		Transport: &witness{next: http.DefaultTransport.(*http.Transport).Clone()},
		// The key must not travel on to where a redirect points.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &api{
		key: cfg.APIKey, client: client, limit: newLimiter(rate), search: newLimiter(min(rate, searchRate)), metrics: m,
		backend: stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
			URL: stripe.String(strings.TrimSuffix(cfg.APIURL, "/")), HTTPClient: client,
			MaxNetworkRetries: stripe.Int64(0), EnableTelemetry: stripe.Bool(false),
			// It would log requests with their parameters.
			LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
		}),
	}
}

// apiError is an answer that is no success, or none.
type apiError struct {
	Status     int // 0: no answer came
	Code, Type string
	Param      string
	Message    string
	RetryAfter time.Duration
	Replayed   bool
	cause      error
}

func (e *apiError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("no answer from Stripe: %v", e.cause)
	}
	text := fmt.Sprintf("Stripe answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	if e.Message != "" {
		text += ": " + cut(e.Message, 200)
	}
	return text
}

func (e *apiError) Unwrap() error { return e.cause }

// missing tells whether what the request was about is not there (any more).
func (e *apiError) missing(params ...string) bool {
	if e.Code != string(stripe.ErrorCodeResourceMissing) {
		return false
	}
	for _, p := range params {
		if e.Param == p {
			return true
		}
	}
	return false
}

// price tells whether it is about a price that cannot be sold.
func (e *apiError) price() bool {
	return e.Status == http.StatusBadRequest && strings.HasPrefix(e.Param, "items") && strings.Contains(e.Param, "price")
}

// seen is what the transport saw of an answer, which the library does not tell
// of every failure.
type seen struct {
	status     int
	retryAfter string
	replayed   bool
}

type seenKey struct{}

// witness notes an answer for the request that its context belongs to.
type witness struct{ next http.RoundTripper }

func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	// net/http would by itself repeat a request that has an idempotency key.
	once := *req
	once.GetBody = nil
	req = &once
	resp, err := w.next.RoundTrip(req)
	if s, ok := req.Context().Value(seenKey{}).(*seen); ok && err == nil {
		s.status, s.retryAfter = resp.StatusCode, resp.Header.Get("Retry-After")
		s.replayed = resp.Header.Get("Idempotent-Replayed") == "true"
		resp.Body = &boundedBody{resp.Body, io.LimitReader(resp.Body, maxAnswer)}
	}
	return resp, err
}

// maxAnswer bounds what is read of an answer. A page of 100 subscriptions with
// their customers is well below.
const maxAnswer = 16 << 20

type boundedBody struct {
	io.Closer
	io.Reader
}

// get asks for something. operation is for metrics.
func (a *api) get(ctx context.Context, operation, path string, params [][2]string, into stripe.LastResponseSetter) error {
	_, err := a.call(ctx, operation, http.MethodGet, path, params, "", into)
	return err
}

// send does an operation under a key. replayed tells that Stripe answered what
// it had answered before.
func (a *api) send(ctx context.Context, o op, key string, into stripe.LastResponseSetter) (replayed bool, err error) {
	return a.call(ctx, string(o.Kind), o.Method, o.Path, o.Form, key, into)
}

func (a *api) call(ctx context.Context, operation, method, path string, params [][2]string, key string, into stripe.LastResponseSetter) (bool, error) {
	if strings.HasSuffix(path, "/search") {
		done, err := a.search.take(ctx)
		if err != nil {
			return false, err
		}
		defer done()
	}
	done, err := a.limit.take(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	values := &form.Values{}
	for _, kv := range params {
		values.Add(kv[0], kv[1])
	}
	var saw seen
	p := &stripe.Params{Context: context.WithValue(ctx, seenKey{}, &saw)}
	if key != "" {
		p.IdempotencyKey = &key
	}
	began := time.Now()
	err = a.backend.CallRaw(method, path, a.key, values, p, into)
	if err != nil || saw.status >= 300 {
		err = describe(saw, err)
	}
	a.metrics.request(operation, saw.status, time.Since(began))
	return saw.replayed, err
}

// describe makes an apiError of what the library returned.
func describe(saw seen, err error) error {
	out := &apiError{Status: saw.status, Replayed: saw.replayed, cause: err}
	if seconds, bad := strconv.Atoi(saw.retryAfter); bad == nil && seconds > 0 {
		out.RetryAfter = time.Duration(min(seconds, 3600)) * time.Second
	}
	var told *stripe.Error
	if errors.As(err, &told) {
		out.Code, out.Type, out.Param, out.Message = string(told.Code), string(told.Type), told.Param, told.Msg
		out.cause = nil // it holds the whole answer
	}
	if out.Status >= 200 && out.Status < 300 {
		out.Status, out.cause = 0, fmt.Errorf("its answer could not be read: %w", err)
	}
	return out
}

func (a *api) close() { a.client.CloseIdleConnections() }
