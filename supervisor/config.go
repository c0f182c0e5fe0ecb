package supervisor

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"understudy/internal/pace"
	"understudy/isolation"
	"understudy/sentinel"
	"understudy/shmregistry"
)

// Config is what a supervisor is told once. Start from DefaultConfig.
type Config struct {
	// GRPCPort is the TCP port of the API on 127.0.0.1; 0 takes a free one, -1,
	// the default, turns it off: the unix socket is always there.
	GRPCPort int
	API      API
	// PatternsDir holds a folder with a manifest for each pattern.
	PatternsDir string
	// DefaultIsolation counts where neither launch nor manifest names a level.
	DefaultIsolation isolation.Level
	// RuntimeDir holds the API's socket (api.sock) and the bindings' (e/). It
	// belongs to one supervisor at a time. Absolute, at most MaxRuntimeDir
	// bytes.
	RuntimeDir string
	// StateDir holds what must outlive a reboot. Absolute.
	StateDir       string
	ProcessManager ProcessManager
	Limits         Limits
	// Pace turns off what keeps the first milliseconds after a death clear.
	Pace pace.Switches
	// Cgroups: each worker gets a cgroup of its own where that is permitted.
	Cgroups bool
	// Segments bounds the shared memory of bindings; 0 takes the default.
	Segments shmregistry.Limits
	Sentinel Sentinel
	// MetricsPort serves /metrics, and HealthPort /healthz and /readyz, on
	// 127.0.0.1; 0 takes a free port, -1 turns the server off.
	MetricsPort int
	HealthPort  int
	// SentinelExe is the binary that is run with the argument "sentinel" as
	// the takeover engine: one that calls takeover.Main for it. Empty: the
	// engine runs in this process, where a busy Go scheduler can delay it.
	SentinelExe string
}

// API says who may call the API beside root and the supervisor's own user, whom
// the kernel names for each connection.
type API struct {
	// Group is a group, by name or number, whose members may; "" for none.
	Group string
	// Mode is the permission bits of the unix socket.
	Mode uint32
}

// Limits bounds what callers can make the supervisor hold. Beyond a limit they
// get ResourceExhausted. 0 means no limit.
type Limits struct {
	// Bindings in all, and of one namespace.
	Bindings             int
	BindingsPerNamespace int
	// Workers is how many processes there may be, standbys included.
	Workers int
	// Watchers of routes and events, in all.
	Watchers int
	// WaitingLaunches is how many launches may wait for a worker at once.
	WaitingLaunches int
}

// ProcessManager bounds the starting of workers and the checks on them.
type ProcessManager struct {
	// ResyncInterval is the time between reconcile passes.
	ResyncInterval time.Duration
	BackoffPeriod  BackoffPeriod
	// MaxConcurrentStarts is how many workers may be starting at once.
	MaxConcurrentStarts int
	// StopTimeout bounds the supervisor's own stop, whatever the grace periods
	// of workers and launches are.
	StopTimeout time.Duration
}

// BackoffPeriod bounds the wait after a failed start: Min after the first, up
// to Max as they go on.
type BackoffPeriod struct {
	Min, Max time.Duration
}

// Sentinel says how deaths are noticed.
type Sentinel struct {
	// Realtime asks for real-time priority (SCHED_FIFO) for the sentinel, and
	// for the heirs of workers while they cut connections; where it is not
	// permitted, they run without.
	Realtime bool
	// Source forces a death source by name; "auto" takes the best there is.
	Source string
}

// Bounds and defaults of the configuration.
const (
	DefaultGRPCPort    = -1
	DefaultMetricsPort = 9982
	DefaultHealthPort  = 9983

	minResync = 100 * time.Millisecond
	maxResync = time.Hour
	minWait   = time.Millisecond
	maxWait   = time.Hour
	// A lone minimum of the backoff brings its maximum with it.
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

// DefaultConfig returns a configuration that works for this user as it is.
func DefaultConfig() Config {
	runtime := runtimeDir()
	return Config{
		GRPCPort:         DefaultGRPCPort,
		PatternsDir:      "patterns",
		DefaultIsolation: isolation.LevelNamespace,
		RuntimeDir:       runtime,
		StateDir:         stateDir(runtime),
		ProcessManager: ProcessManager{
			ResyncInterval:      30 * time.Second,
			BackoffPeriod:       BackoffPeriod{Min: 100 * time.Millisecond, Max: 30 * time.Second},
			MaxConcurrentStarts: 4,
			StopTimeout:         30 * time.Second,
		},
		API: API{Mode: 0o600},
		Limits: Limits{Bindings: 10_000, BindingsPerNamespace: 2_000, Workers: 20_000, Watchers: 1024,
			WaitingLaunches: 10_000},
		Cgroups:     true,
		Sentinel:    Sentinel{Realtime: true, Source: "auto"},
		MetricsPort: DefaultMetricsPort,
		HealthPort:  DefaultHealthPort,
	}
}

// runtimeDir is below XDG_RUNTIME_DIR where the session has one (XDG Base
// Directory Specification), which must then be absolute.
func runtimeDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "understudy")
	}
	if os.Geteuid() == 0 {
		return "/run/understudy"
	}
	return "/tmp/understudy-" + strconv.Itoa(os.Geteuid())
}

func stateDir(runtime string) string {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "understudy")
	}
	if os.Geteuid() == 0 {
		return "/var/lib/understudy"
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "understudy")
	}
	return filepath.Join(runtime, "state")
}

// ConfigError says which field of a configuration is wrong and why.
type ConfigError struct {
	// Field is the path below "launcher" in the file, such as
	// "process_manager.resync_interval".
	Field  string
	Reason string
}

func (e *ConfigError) Error() string { return e.Field + ": " + e.Reason }

// Validate returns a *ConfigError for the first field that is out of range.
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
	return &ConfigError{Field: field, Reason: fmt.Sprintf(format, args...)}
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

func checkLevel(l isolation.Level) error {
	if l < isolation.LevelNone || l > isolation.LevelSession {
		return wrong("default_isolation", "%q is none of none, namespace, session", l)
	}
	return nil
}

func checkSource(name string) error {
	if _, err := sentinel.ParseSource(name); err != nil {
		return wrong("sentinel.source", "%s", strings.TrimPrefix(err.Error(), "sentinel: "))
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
