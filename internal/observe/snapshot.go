package observe

import (
	"github.com/prometheus/client_golang/prometheus"

	"understudy/isolation"
)

// snapshot collects what is counted elsewhere, at the moment of a scrape.
type snapshot struct {
	sources  Sources
	workers  *prometheus.Desc
	bindings *prometheus.Desc
	events   *prometheus.Desc
	logLines *prometheus.Desc
	features *prometheus.Desc
}

func newSnapshot(sources Sources) *snapshot {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &snapshot{
		sources:  sources,
		workers:  desc("workers", "Workers now, by pattern and state.", "pattern", "state"),
		bindings: desc("bindings", "Bindings now, by state.", "state"),
		events:   desc("dropped_events_total", "Events that slow subscribers lost."),
		logLines: desc("dropped_log_lines_total", "Lines of workers' output that were not logged."),
		features: desc("feature_in_use", "1 where the best form of a kernel feature is in use, 0 where a fallback is.", "name", "in_use"),
	}
}

// Describe implements prometheus.Collector.
func (s *snapshot) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.workers, s.bindings, s.events, s.logLines, s.features} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *snapshot) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	for _, p := range s.sources.Pools() {
		gauge(s.workers, float64(p.Starting), p.Pattern, "starting")
		gauge(s.workers, float64(p.Standby), p.Pattern, "standby")
		gauge(s.workers, float64(p.Active), p.Pattern, "active")
		gauge(s.workers, float64(p.Draining), p.Pattern, "draining")
	}
	// A state without bindings is a 0, not a gap.
	count := make([]int, isolation.Gone)
	for _, b := range s.sources.Bindings() {
		if b.State < isolation.Gone {
			count[b.State]++
		}
	}
	for state, n := range count {
		gauge(s.bindings, float64(n), isolation.State(state).String())
	}
	for _, f := range s.sources.Features() {
		best := 0.0
		if f.Best {
			best = 1
		}
		gauge(s.features, best, f.Name, f.InUse)
	}
	counter(s.events, float64(s.sources.DroppedEvents()))
	counter(s.logLines, float64(s.sources.DroppedLogLines()))
}
