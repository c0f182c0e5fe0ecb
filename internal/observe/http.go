package observe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Bounds on a client of the HTTP servers.
const (
	httpTimeout   = 10 * time.Second
	httpIdle      = time.Minute
	stopTimeout   = time.Second
	maxHeader     = 16 << 10
	maxScrapes    = 4
	scrapeTimeout = 5 * time.Second
)

// Handler serves /metrics.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry: m.registry, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout}))
	return mux
}

// HealthHandler serves /healthz and /readyz: 200 where the function returns
// nil, else 503 with the reason.
func HealthHandler(healthy, ready func() error) http.Handler {
	mux := http.NewServeMux()
	for path, check := range map[string]func() error{"GET /healthz": healthy, "GET /readyz": ready} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			if err := check(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintln(w, err)
				return
			}
			fmt.Fprintln(w, "ok")
		})
	}
	return mux
}

// Options says where the pages are served, on 127.0.0.1: port 0 takes a free
// one, -1 turns a page off.
type Options struct {
	MetricsPort int
	HealthPort  int
	Log         *slog.Logger
}

// Pages serves metrics and health over HTTP, each on its own port.
type Pages struct {
	metrics, health *server
}

// Listen opens the ports, so that errors come now. See HealthHandler for
// healthy and ready.
func Listen(o Options, m *Metrics, healthy, ready func() error) (*Pages, error) {
	metrics, err := listen("metrics", o.MetricsPort, m.Handler(), o.Log)
	if err != nil {
		return nil, err
	}
	health, err := listen("health", o.HealthPort, HealthHandler(healthy, ready), o.Log)
	if err != nil {
		metrics.close()
		return nil, err
	}
	return &Pages{metrics: metrics, health: health}, nil
}

// MetricsAddr and HealthAddr return host:port, or "" of a page that is off.
func (p *Pages) MetricsAddr() string { return p.metrics.addr() }

// HealthAddr is as MetricsAddr.
func (p *Pages) HealthAddr() string { return p.health.addr() }

// Serve serves until Stop.
func (p *Pages) Serve() error {
	ended := make(chan error, 2)
	for _, s := range []*server{p.metrics, p.health} {
		go func() { ended <- s.serve() }()
	}
	return errors.Join(<-ended, <-ended)
}

// Stop ends Serve. Requests under way may finish for a moment.
func (p *Pages) Stop() {
	p.metrics.close()
	p.health.close()
}

// server is one HTTP server; nil is one that is off.
type server struct {
	what     string
	listener net.Listener
	http     *http.Server
}

func listen(what string, port int, handler http.Handler, log *slog.Logger) (*server, error) {
	if port < 0 {
		return nil, nil
	}
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("%s server: %w", what, err)
	}
	return &server{what: what, listener: l, http: &http.Server{
		Handler: handler, ReadTimeout: httpTimeout, WriteTimeout: httpTimeout, IdleTimeout: httpIdle,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}}, nil
}

func (s *server) addr() string {
	if s == nil {
		return ""
	}
	return s.listener.Addr().String()
}

func (s *server) serve() error {
	if s == nil {
		return nil
	}
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%s server: %w", s.what, err)
	}
	return nil
}

func (s *server) close() {
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	s.listener.Close() // where Serve was never called
}
