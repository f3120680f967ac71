package retention

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	events, ids, failures prometheus.Counter
	held                  *prometheus.GaugeVec
	positions             *prometheus.GaugeVec
	oldest                prometheus.Gauge
	bytes                 prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "avhub_journal_pruned_events_total", Help: "Events that this hub removed from the journal because of their age.",
		}),
		ids: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "avhub_journal_pruned_ids_total", Help: "Ids of events that this hub forgot.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "avhub_journal_prune_failures_total", Help: "Attempts to prune the journal that failed.",
		}),
		held: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "avhub_journal_held_events", Help: "Events that are old enough to be removed, and that something still needs.",
		}, []string{"by"}),
		positions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "avhub_journal_position", Help: "The positions that the journal begins and ends with: first, last.",
		}, []string{"end"}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "avhub_journal_oldest_timestamp_seconds", Help: "When the first event of the journal was received; 0 if there is none.",
		}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "avhub_journal_bytes", Help: "Size of the journal's tables with their indexes; on SQLite of the whole database.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.events, m.ids, m.failures, m.held, m.positions, m.oldest, m.bytes)
	}
	return m
}

func (m metrics) pruned(d Done) {
	m.events.Add(float64(d.Events))
	m.ids.Add(float64(d.IDs))
}

func (m metrics) report(s Status) {
	m.held.Reset() // who needs nothing any more is not shown
	for _, h := range s.Holds {
		m.held.WithLabelValues(h.By).Set(float64(h.Holds))
	}
	m.positions.WithLabelValues("first").Set(float64(s.First))
	m.positions.WithLabelValues("last").Set(float64(s.Last))
	m.oldest.Set(0)
	if s.Since != nil {
		m.oldest.Set(float64(s.Since.UnixMicro()) / 1e6)
	}
	m.bytes.Set(float64(s.Bytes))
}
