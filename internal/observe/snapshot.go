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
	cut      *prometheus.Desc
	// Of each limit.
	used, most, refused *prometheus.Desc
	// Shared memory: of each binding, of all, and what went wrong.
	bindingSegments, bindingBytes *prometheus.Desc
	ownObjects, ownBytes          *prometheus.Desc
	segmentsMade, segmentTrouble  *prometheus.Desc
	engineTrouble                 *prometheus.Desc
}

func newSnapshot(sources Sources) *snapshot {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &snapshot{
		sources:         sources,
		workers:         desc("workers", "Workers now, by pattern and state.", "pattern", "state"),
		bindings:        desc("bindings", "Bindings now, by state.", "state"),
		events:          desc("dropped_events_total", "Events that were lost, by slow subscribers or on the way from the takeover engine.", "where"),
		logLines:        desc("dropped_log_lines_total", "Lines that were not logged: beyond what one worker may write (worker), or as nobody read the log (the others).", "queue"),
		features:        desc("feature_in_use", "1 where the best form of a kernel feature is in use, 0 where a fallback is.", "name", "in_use"),
		cut:             desc("endpoints_cut", "Endpoints at which fewer connections may wait than their manifest says, as net.core.somaxconn cuts their queue."),
		used:            desc("limit_used", "How much of a limit is in use.", "limit"),
		most:            desc("limit_max", "A limit; 0 where there is none.", "limit"),
		refused:         desc("limit_refused_total", "Calls that were refused because of a limit.", "limit"),
		bindingSegments: desc("binding_segments", "Shared-memory segments of a binding.", "process_id"),
		bindingBytes:    desc("binding_segment_bytes", "Bytes of data in the segments of a binding.", "process_id"),
		ownObjects:      desc("binding_own_shared_objects", "Shared-memory objects that the active worker made itself.", "process_id"),
		ownBytes:        desc("binding_own_shared_bytes", "Bytes of shared memory that the active worker made itself.", "process_id"),
		segmentsMade:    desc("segments_made_total", "Segments made."),
		engineTrouble:   desc("engine_trouble_total", "What the takeover engine could not do at once: commands rejected, plans refused, activations retried, commands given up; and workers that were stuck after their activation (hedged). All 0 in a healthy run.", "what"),
		segmentTrouble:  desc("segment_trouble_total", "What the segment registry had to deal with. All 0 in a healthy run.", "what"),
	}
}

// Describe implements prometheus.Collector.
func (s *snapshot) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.workers, s.bindings, s.events, s.logLines, s.features, s.cut, s.used, s.most, s.refused, s.bindingSegments,
		s.bindingBytes, s.ownObjects, s.ownBytes, s.segmentsMade, s.segmentTrouble, s.engineTrouble} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *snapshot) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	for _, p := range s.sources.Pools() {
		gauge(s.workers, float64(p.Starting), p.Pattern, "starting")
		gauge(s.workers, float64(p.Standby), p.Pattern, "standby")
		gauge(s.workers, float64(p.Active), p.Pattern, "active")
		gauge(s.workers, float64(p.Draining), p.Pattern, "draining")
	}
	// A state without bindings is a 0, not a gap.
	count := make([]int, isolation.Gone)
	cut := 0
	for _, b := range s.sources.Bindings() {
		if b.BacklogCut {
			cut++
		}
		if b.State < isolation.Gone {
			count[b.State]++
		}
		if b.Segments > 0 {
			gauge(s.bindingSegments, float64(b.Segments), b.ProcessID)
			gauge(s.bindingBytes, float64(b.SegmentBytes), b.ProcessID)
		}
		if b.OwnObjects > 0 {
			gauge(s.ownObjects, float64(b.OwnObjects), b.ProcessID)
			gauge(s.ownBytes, float64(b.OwnBytes), b.ProcessID)
		}
	}
	gauge(s.cut, float64(cut))
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
	for _, l := range s.sources.Limits() {
		gauge(s.used, float64(l.Used), l.Name)
		gauge(s.most, float64(l.Max), l.Name)
		counter(s.refused, float64(l.Refused), l.Name)
	}
	t := s.sources.Segments()
	counter(s.segmentsMade, float64(t.Made))
	for what, n := range map[string]int64{"write_failed": t.WriteFailures, "repaired": t.Repaired, "damaged": t.Damaged,
		"lost": t.Lost, "named_again": t.NamesAgain, "name_lost": t.NamesLost, "header_mended": t.HeadersMended, "foreign": t.Foreign, "taken": t.Taken, "remove_failed": t.RemoveFailures} {
		counter(s.segmentTrouble, float64(n), what)
	}
	if s.sources.EngineTrouble != nil {
		t := s.sources.EngineTrouble()
		for what, n := range map[string]uint64{"rejected": t.Rejected, "refused": t.Refused, "retried": t.Retried, "given_up": t.GivenUp, "hedged": t.Hedged} {
			counter(s.engineTrouble, float64(n), what)
		}
	}
	counter(s.events, float64(s.sources.DroppedEvents()), "subscriber")
	counter(s.events, float64(s.sources.DroppedEngineEvents()), "engine")
	for queue, n := range s.sources.DroppedLogLines() {
		counter(s.logLines, float64(n), queue)
	}
}
