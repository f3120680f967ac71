package source

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what the sources see. One Metrics serves all sources of a hub.
// Label values come from the configuration and from fixed vocabularies only.
type Metrics struct {
	requests   *prometheus.CounterVec // source, outcome, reason
	mismatches *prometheus.CounterVec // source, header
	refreshes  *prometheus.CounterVec // source, result
	keys       *prometheus.GaugeVec   // source
}

// NewMetrics makes the counters and registers them. A nil registerer leaves
// them unregistered. The error is the registerer's, for a name that is taken.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "avhub_source_requests_total",
			Help: "Webhook requests by outcome: accepted, duplicate, conflict, refused (the sender's fault), unavailable (the hub's).",
		}, []string{"source", "outcome", "reason"}),
		mismatches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "avhub_source_header_mismatches_total",
			Help: "Verified requests whose unsigned id or type header disagrees with the signed body; the body was believed.",
		}, []string{"source", "header"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "avhub_source_key_set_refreshes_total",
			Help: "Fetches of the provider's key set by result: ok or failed.",
		}, []string{"source", "result"}),
		keys: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "avhub_source_keys",
			Help: "Keys held that can verify a signature.",
		}, []string{"source"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.mismatches, m.refreshes, m.keys} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of the sources: %w; make one Metrics and share it among all sources", err)
		}
	}
	return m, nil
}
