package observe

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/internal/event"
	"understudy/internal/version"
	"understudy/isolation"
	"understudy/pool"
	"understudy/sentinel"
	"understudy/shmregistry"
)

func sources() Sources {
	return Sources{
		Pools: func() []pool.Stats { return []pool.Stats{{Pattern: "echo", Standby: 2, Active: 3}} },
		Bindings: func() []isolation.Binding {
			return []isolation.Binding{{ProcessID: "ns:acme:echo", State: isolation.Active, Segments: 2, SegmentBytes: 4096,
				OwnObjects: 1, OwnBytes: 512, BacklogCut: true}, {State: isolation.Failed}}
		},
		Limits:   func() []isolation.Limit { return []isolation.Limit{{Name: "workers", Used: 3, Max: 4, Refused: 5}} },
		Segments: func() shmregistry.Totals { return shmregistry.Totals{Made: 7, Repaired: 8} },
		Features: func() []sentinel.Feature {
			return []sentinel.Feature{{Name: "death source", InUse: "kernel", Best: true}, {Name: "real-time priority", InUse: "none"}}
		},
		DroppedEvents:       func() uint64 { return 5 },
		DroppedEngineEvents: func() uint64 { return 6 },
		DroppedLogLines:     func() map[string]uint64 { return map[string]uint64{"output": 6} },
	}
}

// serve returns the pages, served until the test ends.
func serve(t *testing.T, m *Metrics, healthy, ready func() error) *Pages {
	t.Helper()
	pages, err := Listen(Options{Log: slog.New(slog.DiscardHandler)}, m, healthy, ready)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- pages.Serve() }()
	t.Cleanup(func() {
		pages.Stop()
		require.NoError(t, <-served)
		http.DefaultClient.CloseIdleConnections()
	})
	return pages
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return r.StatusCode, string(body)
}

func fine() error { return nil }

func TestMetricsPage(t *testing.T) {
	m := NewMetrics()
	m.Attach(sources())
	m.Count(event.Event{Kind: event.WorkerStarted, Pattern: "echo"})
	m.Count(event.Event{Kind: event.StartFailed, Pattern: "echo"})
	m.Count(event.Event{Kind: event.Failover, Pattern: "echo", Facts: map[string]string{"cause": "SIGKILL", "activate_us": "180.5"}})
	m.Repaired()
	pages := serve(t, m, fine, fine)

	code, body := get(t, "http://"+pages.MetricsAddr()+"/metrics")
	require.Equal(t, http.StatusOK, code)
	lines := strings.Split(body, "\n")
	build := version.Get()
	for _, want := range []string{
		`understudy_failovers_total{cause="SIGKILL",pattern="echo"} 1`,
		`understudy_failover_seconds_bucket{le="0.0001"} 0`,
		`understudy_failover_seconds_bucket{le="0.0002"} 1`,
		`understudy_worker_starts_total{pattern="echo"} 1`,
		`understudy_worker_start_failures_total{pattern="echo"} 1`,
		`understudy_workers{pattern="echo",state="standby"} 2`,
		`understudy_workers{pattern="echo",state="active"} 3`,
		`understudy_bindings{state="active"} 1`,
		`understudy_bindings{state="failed"} 1`,
		`understudy_bindings{state="recovering"} 0`,
		`understudy_binding_segments{process_id="ns:acme:echo"} 2`,
		`understudy_binding_segment_bytes{process_id="ns:acme:echo"} 4096`,
		`understudy_binding_own_shared_objects{process_id="ns:acme:echo"} 1`,
		`understudy_binding_own_shared_bytes{process_id="ns:acme:echo"} 512`,
		`understudy_endpoints_cut 1`,
		`understudy_limit_used{limit="workers"} 3`,
		`understudy_limit_max{limit="workers"} 4`,
		`understudy_limit_refused_total{limit="workers"} 5`,
		`understudy_segments_made_total 7`,
		`understudy_segment_trouble_total{what="repaired"} 8`,
		`understudy_dropped_events_total{where="subscriber"} 5`,
		`understudy_dropped_events_total{where="engine"} 6`,
		`understudy_dropped_log_lines_total{queue="output"} 6`,
		`understudy_reconcile_repairs_total 1`,
		`understudy_build_info{go_version="` + build.Go + `",revision="` + build.Revision + `",version="` + build.Version + `"} 1`,
		`understudy_feature_in_use{in_use="kernel",name="death source"} 1`,
		`understudy_feature_in_use{in_use="none",name="real-time priority"} 0`,
	} {
		require.Contains(t, lines, want)
	}
}

func TestHealthPages(t *testing.T) {
	pages := serve(t, NewMetrics(), fine, func() error { return errors.New("not yet") })
	code, body := get(t, "http://"+pages.HealthAddr()+"/healthz")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "ok\n", body)
	code, body = get(t, "http://"+pages.HealthAddr()+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "not yet\n", body)
}

func TestPagesCanBeOff(t *testing.T) {
	pages, err := Listen(Options{MetricsPort: -1, HealthPort: -1}, NewMetrics(), fine, fine)
	require.NoError(t, err)
	require.NoError(t, pages.Serve())
	pages.Stop()
	require.Empty(t, pages.MetricsAddr()+pages.HealthAddr())
}

func TestATakenPortIsNamed(t *testing.T) {
	pages := serve(t, NewMetrics(), fine, fine)
	_, taken, _ := strings.Cut(pages.HealthAddr(), ":")
	port, err := strconv.Atoi(taken)
	require.NoError(t, err)
	_, err = Listen(Options{HealthPort: port, Log: slog.New(slog.DiscardHandler)}, NewMetrics(), fine, fine)
	require.EqualError(t, err, "health server: listen tcp4 127.0.0.1:"+taken+": bind: address already in use")
}
