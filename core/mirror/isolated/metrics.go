package isolated

import (
	"context"
	"database/sql"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of all databases.
type metrics struct {
	databases *prometheus.GaugeVec
	oldest    prometheus.Gauge
	events    prometheus.Counter
	failures  prometheus.Counter
}

// The states of avhub_tenant_databases.
const (
	countCurrent = "current"
	countBehind  = "behind"
	countFailing = "failing"
	countDeleted = stateDeleted
)

func newMetrics(reg prometheus.Registerer, p *pool) *metrics {
	m := &metrics{
		databases: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "avhub_tenant_databases", Help: "Tenants' own databases: current, behind, failing (behind, and the last attempt failed), deleted.",
		}, []string{"state"}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "avhub_tenant_lag_seconds", Help: "How long the tenant's database that waits longest has been behind.",
		}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "avhub_tenant_events_total", Help: "Events applied to tenants' own databases.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "avhub_tenant_failures_total", Help: "Attempts to feed a tenant's own database that failed.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.databases, m.oldest, m.events, m.failures, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "avhub_tenant_databases_open", Help: "Tenants' own databases that are open.",
		}, func() float64 { return float64(p.size()) }))
	}
	return m
}

func (m *metrics) fed(f fed) {
	m.events.Add(float64(f.applied))
	if f.err != nil && !harmless(f.err) {
		m.failures.Inc()
	}
}

// count brings the gauges up to date.
func (m *metrics) count(ctx context.Context, d *Databases) error {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	counts := map[string]int64{countCurrent: 0, countBehind: 0, countFailing: 0, countDeleted: 0}
	var since int64
	err := d.deps.Store.ReadSQL().Query(ctx, func(rows *sql.Rows) error {
		var state string
		var n, oldest int64
		if err := rows.Scan(&state, &n, &oldest); err != nil {
			return err
		}
		counts[state] = n
		if (state == countBehind || state == countFailing) && (since == 0 || oldest < since) {
			since = oldest
		}
		return nil
	}, `SELECT CASE WHEN state <> '' THEN state WHEN NOT `+due+` THEN 'current' WHEN attempts > 0 THEN 'failing' ELSE 'behind' END AS is_in,
 COUNT(*), MIN(updated_at) FROM avhub_tenant_databases GROUP BY 1`)
	if err != nil {
		return err
	}
	for state, n := range counts {
		m.databases.WithLabelValues(state).Set(float64(n))
	}
	m.oldest.Set(0)
	if since > 0 {
		m.oldest.Set(max(0, d.deps.Now().Sub(time.UnixMicro(since)).Seconds()))
	}
	return nil
}
