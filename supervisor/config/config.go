// Package config is the supervisor's configuration: its fields, their defaults
// and bounds, and the file that sets them. It links nothing of the daemon, so
// that the client can check a file.
//
//	config.go   the fields
//	default.go  their defaults
//	check.go    their bounds
//	load.go     the file
package config

import (
	"time"

	"understudy/internal/pace"
	"understudy/shmregistry"
)

// Config is what a supervisor is told once. Start from Default.
type Config struct {
	// GRPCPort is the TCP port of the API on 127.0.0.1; 0 takes a free one, -1,
	// the default, turns it off: the unix socket is always there.
	GRPCPort int
	API      API
	// PatternsDir holds a folder with a manifest for each pattern.
	PatternsDir string
	// DefaultIsolation counts where neither launch nor manifest names a level:
	// one of Levels.
	DefaultIsolation string
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
	// DeepQueues: as root, unix endpoints are made in a network namespace of their
	// own, so that net.core.somaxconn does not cut their queues.
	DeepQueues bool
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
