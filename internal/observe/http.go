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

// Server is an HTTP server on 127.0.0.1.
type Server struct {
	listener net.Listener
	http     *http.Server
	ended    chan struct{}
}

// Listen serves a handler on a port of 127.0.0.1; 0 takes a free one, and -1
// gives a nil server, whose methods do nothing. what names it in errors.
func Listen(what string, port int, handler http.Handler, log *slog.Logger) (*Server, error) {
	if port < 0 {
		return nil, nil
	}
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("%s server: %w", what, err)
	}
	s := &Server{listener: l, ended: make(chan struct{}), http: &http.Server{
		Handler: handler, ReadTimeout: httpTimeout, WriteTimeout: httpTimeout, IdleTimeout: httpIdle,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}}
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("server ended", "server", what, "error", err)
		}
	}()
	return s, nil
}

// Addr returns host:port, or "" of a server that is off.
func (s *Server) Addr() string {
	if s == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Close stops the server; requests under way may finish until ctx ends.
func (s *Server) Close(ctx context.Context) {
	if s == nil {
		return
	}
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	<-s.ended
}
