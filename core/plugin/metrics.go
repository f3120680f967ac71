package plugin

import "github.com/prometheus/client_golang/prometheus"

// metrics tells at every scrape what plugins do and take.
type metrics struct {
	list                                                      func() map[string]*Supervisor
	up, state, restarts, crashes, dropped, cpu, memory, files *prometheus.Desc
}

// NewMetrics returns a collector that tells of the supervisors that list
// returns, by the name of their plugin, at each scrape. What a plugin takes is
// left out where Supervisor.Usage does not know.
func NewMetrics(list func() map[string]*Supervisor) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("avhub_plugin_"+name, help, append([]string{"plugin"}, labels...), nil)
	}
	return &metrics{
		list:     list,
		up:       desc("up", "1 if the plugin takes deliveries, 0 if not."),
		state:    desc("state", "1 for the state that the plugin's process is in.", "state"),
		restarts: desc("restarts_total", "How often the process was started again."),
		crashes:  desc("crashes_total", "How often the process died, or had to be ended because it did not answer or took too much."),
		dropped:  desc("log_lines_dropped_total", "Lines that the plugin wrote faster than they are logged, and that were left out."),
		cpu:      desc("cpu_seconds_total", "CPU time of the process group."),
		memory:   desc("memory_bytes", "Memory that the process group holds."),
		files:    desc("open_files", "Descriptors that the process group has open."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.up, m.state, m.restarts, m.crashes, m.dropped, m.cpu, m.memory, m.files} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for name, s := range m.list() {
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{name}, labels...)...)
		}
		counter := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, name)
		}
		s.mu.Lock()
		status, crashed, dropped := s.status, s.crashes.total, s.dropped.Load()
		s.mu.Unlock()
		up := 0.0
		if status.State == Running {
			up = 1
		}
		gauge(m.up, up)
		gauge(m.state, 1, string(status.State))
		counter(m.restarts, float64(status.Restarts))
		counter(m.crashes, float64(crashed))
		counter(m.dropped, float64(dropped))
		if is, ok := s.Usage(); ok {
			counter(m.cpu, is.CPU.Seconds())
			gauge(m.memory, float64(is.Memory))
			gauge(m.files, float64(is.OpenFiles))
		}
	}
}
