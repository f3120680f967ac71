package journal

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	groups    prometheus.Histogram
	seconds   prometheus.Histogram
	failures  prometheus.Counter
	conflicts prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, queued func() float64) metrics {
	m := metrics{
		groups: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "avhub_journal_group_events", Help: "Events per committed transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "avhub_journal_commit_seconds", Help: "Time to commit one group of events, mirror included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "avhub_journal_failures_total", Help: "Groups of events that could not be committed.",
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "avhub_journal_conflicts_total", Help: "Events that came again under the same id with another body.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.groups, m.seconds, m.failures, m.conflicts,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "avhub_journal_queued_events", Help: "Events that wait for a commit.",
			}, queued))
	}
	return m
}

func (m metrics) commit(events int, took time.Duration, err error) {
	if err != nil {
		m.failures.Inc()
		return
	}
	m.groups.Observe(float64(events))
	m.seconds.Observe(took.Seconds())
}
