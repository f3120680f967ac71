package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics count what is done. They are shown over HTTP if the configuration says
// where, and told in the log while there is something to do.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	tenants  *prometheus.CounterVec
	findings *prometheus.CounterVec
	drift    *prometheus.GaugeVec
	driftRun prometheus.Gauge

	sent, settled, altered, found atomic.Int64 // for the log
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "avhub_stripe_requests_total", Help: "Requests to Stripe, by what they do and the answer's status."}, []string{"operation", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "avhub_stripe_request_seconds", Help: "How long Stripe took to answer.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20}}, []string{"operation"}),
		tenants:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "avhub_stripe_tenants_total", Help: "Tenants looked at because of an event, by what came of it."}, []string{"outcome"}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "avhub_stripe_findings_total", Help: "What a person should know of a tenant, by kind."}, []string{"code"}),
		drift:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "avhub_stripe_drift", Help: "Differences that the last comparison with Stripe found, by field."}, []string{"field"}),
		driftRun: prometheus.NewGauge(prometheus.GaugeOpts{Name: "avhub_stripe_drift_checked_timestamp_seconds", Help: "When the last whole comparison ended, in Unix seconds."}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.tenants, m.findings, m.drift, m.driftRun)
	return m
}

func (m *metrics) request(operation string, status int, took time.Duration) {
	outcome := strconv.Itoa(status)
	if status == 0 {
		outcome = "none"
	}
	m.requests.WithLabelValues(operation, outcome).Inc()
	m.seconds.WithLabelValues(operation).Observe(took.Seconds())
	m.sent.Add(1)
}

// tenant counts one that was looked at: "unchanged", "changed", "waiting",
// "failed".
func (m *metrics) tenant(outcome string) {
	m.tenants.WithLabelValues(outcome).Inc()
	switch outcome {
	case "unchanged":
		m.settled.Add(1)
	case "changed":
		m.settled.Add(1)
		m.altered.Add(1)
	}
}

func (m *metrics) finding(f finding) {
	m.findings.WithLabelValues(f.Code).Inc()
	m.found.Add(1)
}

// progressEvery is how often the log tells how far it is.
const progressEvery = 10 * time.Second

// progress tells in the log what was done, as long as something is.
func (m *metrics) progress(ctx context.Context, every time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	last := int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if n := m.sent.Load(); n != last {
			log.Info("tenants are brought in line with Stripe", "tenants", m.settled.Load(), "changed", m.altered.Load(),
				"findings", m.found.Load(), "requests", n, "per_second", float64(n-last)/every.Seconds())
			last = n
		}
	}
}

// exposition is a listener that shows metrics. While one connector takes over
// from another, in one process, they share it.
type exposition struct {
	server *http.Server
	users  int
	shown  atomic.Pointer[http.Handler]
}

var (
	expositions   = map[string]*exposition{}
	expositionsMu sync.Mutex
)

// expose shows metrics at an address until stop is called.
func (m *metrics) expose(addr string) (stop func() error, err error) {
	expositionsMu.Lock()
	defer expositionsMu.Unlock()
	handler := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	e := expositions[addr]
	if e == nil {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("showing metrics at metrics_listen: %w", err)
		}
		e = &exposition{}
		mux := http.NewServeMux()
		mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) { (*e.shown.Load()).ServeHTTP(w, r) })
		e.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
		expositions[addr] = e
		go func() { _ = e.server.Serve(ln) }()
	}
	e.users++
	e.shown.Store(&handler)
	return func() error {
		expositionsMu.Lock()
		defer expositionsMu.Unlock()
		if e.users--; e.users > 0 {
			return nil
		}
		delete(expositions, addr)
		return e.server.Close()
	}, nil
}
