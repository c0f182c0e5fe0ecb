package config

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The bounds.
const (
	minResync = 100 * time.Millisecond
	maxResync = time.Hour
	minWait   = time.Millisecond
	maxWait   = time.Hour
	// A backoff given by its minimum alone goes up to this times the minimum.
	backoffSpread = 64
	backoffLid    = 5 * time.Minute
	maxStarts     = 1000
	maxLimit      = 1 << 20
	minStop       = 100 * time.Millisecond

	// socketPathSize is the room in sockaddr_un (unix(7)) without the NUL.
	socketPathSize = 107
	// MaxRuntimeDir leaves room for the longest socket below the runtime
	// directory: /e/, a name of 26 characters, .sock.
	MaxRuntimeDir = socketPathSize - len("/e/") - 26 - len(".sock")
)

// Levels returns the isolation levels.
func Levels() []string { return []string{"none", "namespace", "session"} }

// Sources returns the death sources that Sentinel.Source may name.
func Sources() []string { return []string{"auto", "kernel", "connector", "pidfd"} }

// Error says which field of a configuration is wrong and why.
type Error struct {
	// Field is the path below "launcher" in the file, such as
	// "process_manager.resync_interval".
	Field  string
	Reason string
}

func (e *Error) Error() string { return e.Field + ": " + e.Reason }

// Validate returns a *Error for the first field that is out of range.
func (c Config) Validate() error {
	pm := c.ProcessManager
	for _, err := range []error{
		checkPort("grpc_port", c.GRPCPort, -1),
		checkPath("patterns_dir", c.PatternsDir),
		checkLevel(c.DefaultIsolation),
		checkRuntimeDir(c.RuntimeDir),
		checkAbsolute("state_dir", c.StateDir),
		checkPeriod("process_manager.resync_interval", pm.ResyncInterval, minResync, maxResync),
		checkPeriod("process_manager.backoff_period.min", pm.BackoffPeriod.Min, minWait, maxWait),
		checkPeriod("process_manager.backoff_period.max", pm.BackoffPeriod.Max, pm.BackoffPeriod.Min, maxWait),
		checkStarts(pm.MaxConcurrentStarts),
		checkPeriod("process_manager.stop_timeout", pm.StopTimeout, minStop, maxWait),
		checkLimit("limits.bindings", c.Limits.Bindings),
		checkLimit("limits.bindings_per_namespace", c.Limits.BindingsPerNamespace),
		checkLimit("limits.workers", c.Limits.Workers),
		checkLimit("limits.watchers", c.Limits.Watchers),
		checkLimit("limits.waiting_launches", c.Limits.WaitingLaunches),
		checkSize("segments.per_segment", c.Segments.Segment),
		checkSize("segments.per_binding", c.Segments.Binding),
		checkSize("segments.total", c.Segments.Total),
		checkSource(c.Sentinel.Source),
		checkPort("metrics.port", c.MetricsPort, -1),
		checkPort("health.port", c.HealthPort, -1),
	} {
		if err != nil {
			return err
		}
	}
	return c.checkPortsDiffer()
}

func wrong(field, format string, args ...any) error {
	return &Error{Field: field, Reason: fmt.Sprintf(format, args...)}
}

func checkPort(field string, port, low int) error {
	if port < low || port > math.MaxUint16 {
		return wrong(field, "%d is not between %d and %d", port, low, math.MaxUint16)
	}
	return nil
}

func (c Config) checkPortsDiffer() error {
	seen := map[int]string{}
	for _, p := range []struct {
		field string
		port  int
	}{{"grpc_port", c.GRPCPort}, {"metrics.port", c.MetricsPort}, {"health.port", c.HealthPort}} {
		if p.port <= 0 {
			continue
		}
		if other, taken := seen[p.port]; taken {
			return wrong(p.field, "%d is %s as well", p.port, other)
		}
		seen[p.port] = p.field
	}
	return nil
}

func checkPath(field, path string) error {
	if path == "" {
		return wrong(field, "must not be empty")
	}
	return nil
}

func checkAbsolute(field, path string) error {
	if path != "" && !filepath.IsAbs(path) {
		return wrong(field, "%q must be an absolute path", path)
	}
	return checkPath(field, path)
}

func checkRuntimeDir(path string) error {
	if len(path) > MaxRuntimeDir {
		return wrong("runtime_dir", "%q is %d bytes long; at most %d leave room for socket names", path, len(path), MaxRuntimeDir)
	}
	return checkAbsolute("runtime_dir", path)
}

func checkLevel(l string) error {
	if !slices.Contains(Levels(), l) {
		return wrong("default_isolation", "%q is none of %s", l, strings.Join(Levels(), ", "))
	}
	return nil
}

func checkSource(name string) error {
	if !slices.Contains(Sources(), name) {
		return wrong("sentinel.source", "%q is none of %s", name, strings.Join(Sources(), ", "))
	}
	return nil
}

func checkPeriod(field string, d, low, high time.Duration) error {
	if d < low || d > high {
		return wrong(field, "%v is not between %v and %v", d, low, high)
	}
	return nil
}

func checkSize(field string, bytes int64) error {
	if bytes < 0 {
		return wrong(field, "%d bytes is less than 0", bytes)
	}
	return nil
}

func checkLimit(field string, n int) error {
	if n < 0 || n > maxLimit {
		return wrong(field, "%d is not between 0 and %d", n, maxLimit)
	}
	return nil
}

func checkStarts(n int) error {
	if n < 1 || n > maxStarts {
		return wrong("process_manager.max_concurrent_starts", "%d is not between 1 and %d", n, maxStarts)
	}
	return nil
}
