package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

const (
	// readyTimeout bounds one look at everything that readiness depends on.
	readyTimeout = 5 * time.Second
	// scrapes at a time, and how long one may take. Metrics cost more to write
	// than to ask for.
	scrapes       = 4
	scrapeTimeout = 10 * time.Second
)

// Check is one thing that the hub needs in order to accept events.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Detail is for operators: what is wrong, or how things stand. It must hold
	// no secret.
	Detail string `json:"detail,omitempty"`
}

// Deps are what the handler works with.
type Deps struct {
	// Token is what operators show as `Authorization: Bearer`. Empty: none is
	// needed, and only requests to a loopback host are served.
	Token string
	// Ready looks at everything that readiness depends on. It should return
	// before ctx ends, after 5 s; nil: the hub is ready whenever it answers.
	Ready func(ctx context.Context) []Check
	// Gatherer has the metrics; nil: prometheus.DefaultGatherer.
	Gatherer prometheus.Gatherer
	// API answers below /api/, to those who show the token if there is one; Entitled
	// tells it whether they did. nil: there is nothing.
	API http.Handler
	Log zerolog.Logger
}

// apiRoot is the path below which Deps.API answers.
const apiRoot = "/api/"

// handler is the admin listener's http.Handler.
type handler struct {
	deps    Deps
	guard   guard
	metrics http.Handler
}

// New returns the handler of the admin listener. Its answers:
//
//	GET /         what there is, as text
//	GET /healthz  200 "ok" while the process answers; open
//	GET /readyz   200 or 503. One word without the token; the list of checks as
//	              JSON with it, or when no token is configured
//	GET /metrics  Prometheus metrics; needs the token if one is configured
//	GET /api/…    what Deps.API answers; needs the token if one is configured
//
// A wrong token gets 401, another path 404, another method than GET and HEAD
// 405 outside the API, and without a token configured a Host that is not this machine 403.
func New(deps Deps) http.Handler {
	if deps.Gatherer == nil {
		deps.Gatherer = prometheus.DefaultGatherer
	}
	return &handler{
		deps:  deps,
		guard: newGuard(deps.Token, deps.Log),
		metrics: promhttp.HandlerFor(deps.Gatherer, promhttp.HandlerOpts{
			ErrorLog: metricsLog{deps.Log},
			// One broken collector must not hide the others, and its error is for
			// the log.
			ErrorHandling:       promhttp.ContinueOnError,
			MaxRequestsInFlight: scrapes,
			Timeout:             scrapeTimeout,
		}),
	}
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if !h.guard.host(r) {
		Refuse(w, http.StatusForbidden, "unknown_host", "without admin.token only requests to localhost, 127.0.0.1 or [::1] are served; set a token to use another name")
		return
	}
	answer := h.route(r.URL.Path)
	if answer == nil {
		Refuse(w, http.StatusNotFound, "not_found", "there is nothing here; GET / tells what there is")
		return
	}
	api := h.deps.API != nil && strings.HasPrefix(r.URL.Path, apiRoot)
	if r.Method != http.MethodGet && r.Method != http.MethodHead && !api {
		w.Header().Set("Allow", "GET, HEAD")
		Refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "only GET and HEAD are answered here")
		return
	}
	answer(w, r)
}

func (h *handler) route(path string) http.HandlerFunc {
	switch path {
	case "/":
		return h.index
	case "/healthz":
		return h.health
	case "/readyz":
		return h.ready
	case "/metrics":
		return h.scrape
	}
	if h.deps.API != nil && strings.HasPrefix(path, apiRoot) {
		return h.api
	}
	return nil
}

func (h *handler) index(w http.ResponseWriter, _ *http.Request) {
	access := "open"
	if h.guard.token {
		access = "needs the token (Authorization: Bearer …)"
	}
	api := ""
	if h.deps.API != nil {
		api = "  /api/v1/  the mirror and plugins, described by /api/v1/openapi.json; " + access + "\n"
	}
	text(w, http.StatusOK, "This is the admin listener of avhub.\n\n"+
		"  /healthz  whether the process answers\n"+
		"  /readyz   whether events can be accepted; with the token, why not\n"+
		"  /metrics  metrics for Prometheus; "+access+"\n"+api)
}

func (h *handler) health(w http.ResponseWriter, _ *http.Request) {
	text(w, http.StatusOK, "ok\n")
}

func (h *handler) ready(w http.ResponseWriter, r *http.Request) {
	// A wrong token is refused rather than treated as none: whoever sends one
	// wants to see the checks, and must learn that it is wrong.
	all := !h.guard.token
	if h.guard.token && r.Header.Get("Authorization") != "" {
		if !h.guard.authorized(w, r) {
			return
		}
		all = true
	}
	checks := []Check{}
	if h.deps.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		checks = append(checks, h.deps.Ready(ctx)...)
	}
	status, word := http.StatusOK, "ready\n"
	for _, c := range checks {
		if !c.OK {
			status, word = http.StatusServiceUnavailable, "not ready\n"
		}
	}
	if !all {
		text(w, status, word)
		return
	}
	answer(w, status, checks)
}

func (h *handler) scrape(w http.ResponseWriter, r *http.Request) {
	if h.guard.token && !h.guard.authorized(w, r) {
		return
	}
	h.metrics.ServeHTTP(w, r)
}

func (h *handler) api(w http.ResponseWriter, r *http.Request) {
	if h.guard.token && !h.guard.authorized(w, r) {
		return
	}
	if h.guard.token {
		r = r.WithContext(context.WithValue(r.Context(), entitled{}, true))
	}
	h.deps.API.ServeHTTP(w, r)
}

// entitled marks the context of a request that has shown the token.
type entitled struct{}

// Entitled tells whether the request of a context has shown the token. Without one
// configured nobody is: who may read on this machine is not asked who they are.
func Entitled(ctx context.Context) bool {
	is, _ := ctx.Value(entitled{}).(bool)
	return is
}

func text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client is gone: nobody to tell
}

// metricsLog takes what the metrics library has to complain about.
type metricsLog struct{ log zerolog.Logger }

// Println logs one complaint.
func (l metricsLog) Println(v ...any) {
	l.log.Warn().Str("detail", strings.TrimSpace(fmt.Sprintln(v...))).Msg("metrics could not be collected completely")
}
