package observe

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"understudy/internal/event"
	"understudy/internal/version"
	"understudy/isolation"
	"understudy/pool"
	"understudy/sentinel"
	"understudy/shmregistry"
)

// Sources are asked at every scrape. All may be called from any goroutine.
type Sources struct {
	Pools    func() []pool.Stats
	Bindings func() []isolation.Binding
	Features func() []sentinel.Feature
	Limits   func() []isolation.Limit
	Segments func() shmregistry.Totals
	// What was dropped is counted since the start.
	DroppedEvents       func() uint64
	DroppedEngineEvents func() uint64
	DroppedLogLines     func() map[string]uint64 // by queue
	// EngineTrouble is what the takeover engines could not do at once.
	EngineTrouble func() isolation.EngineTrouble
}

// Metrics is what the supervisor counts, in a registry of its own.
type Metrics struct {
	registry      *prometheus.Registry
	failovers     *prometheus.CounterVec
	failoverTime  prometheus.Histogram
	starts        *prometheus.CounterVec
	startFailures *prometheus.CounterVec
	repairs       prometheus.Counter
}

// failoverBuckets is fine around the promise of 2 ms, and reaches up to a cold
// start. Seconds.
func failoverBuckets() []float64 {
	return []float64{.0001, .0002, .0003, .0005, .00075, .001, .0015, .002, .003, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

const namespace = "understudy"

// NewMetrics returns the metrics, everything at 0. Attach adds those that are
// counted elsewhere.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		failovers: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "failovers_total",
			Help: "Failovers by pattern and by how the active worker died."}, []string{"pattern", "cause"}),
		failoverTime: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "failover_seconds",
			Help: "From the death of the active worker to the activation of the next being sent.", Buckets: failoverBuckets()}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "worker_starts_total",
			Help: "Workers spawned."}, []string{"pattern"}),
		startFailures: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "worker_start_failures_total",
			Help: "Workers that did not become a standby."}, []string{"pattern"}),
		repairs: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "reconcile_repairs_total",
			Help: "Differences that reconcile passes found and repaired. 0 in a healthy run."}),
	}
	build := version.Get()
	info := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info", Help: "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "go_version": build.Go}})
	info.Set(1)
	m.registry.MustRegister(info, m.failovers, m.failoverTime, m.starts, m.startFailures, m.repairs,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Attach adds what is asked of the sources at every scrape. Call it once.
func (m *Metrics) Attach(sources Sources) { m.registry.MustRegister(newSnapshot(sources)) }

// Count is an event.Sink: it counts what the events tell.
func (m *Metrics) Count(e event.Event) {
	switch e.Kind {
	case event.WorkerStarted:
		m.starts.WithLabelValues(e.Pattern).Inc()
	case event.StartFailed:
		m.startFailures.WithLabelValues(e.Pattern).Inc()
	case event.Failover:
		m.failovers.WithLabelValues(e.Pattern, e.Facts["cause"]).Inc()
		if us, err := strconv.ParseFloat(e.Facts["activate_us"], 64); err == nil {
			m.failoverTime.Observe(us / 1e6)
		}
	}
}

// Repaired counts one difference that a reconcile pass repaired.
func (m *Metrics) Repaired() { m.repairs.Inc() }
