// Package patterns reads the manifests that describe the kinds of worker
// programs: patterns/<name>/manifest.yaml. The folders beside these files are
// the pattern programs that come with the project.
package patterns

import (
	"time"

	"understudy/shmregistry"
	"understudy/shmregistry/leak"
)

// ManifestName is the name of the manifest in a pattern's folder.
const ManifestName = "manifest.yaml"

// Manifest describes a pattern. One that Load returned is valid and complete:
// every default is filled in.
type Manifest struct {
	// Name is the name of the pattern and of its folder.
	Name string
	// Dir is the manifest's folder, an absolute path, and the working
	// directory of the workers.
	Dir string
	// File is the manifest itself.
	File string
	// Program is the absolute path of the executable.
	Program string
	Args    []string
	// Contract is how a worker talks with the supervisor: "sdk".
	Contract string
	// Isolation is "none", "namespace" or "session"; "" leaves it to the
	// supervisor's configuration.
	Isolation string
	// SessionScope says what a session's binding belongs to at level session:
	// ScopeSession, where all namespaces that use a session's name share it, or
	// ScopeNamespaceSession.
	SessionScope string
	// Listen is the kind of endpoint that bindings get: "unix" or "tcp".
	Listen   string
	Endpoint Endpoint
	// OnFailure is what becomes of clients while a binding has no worker and
	// starts fail: OnFailureQueue or OnFailureRefuse.
	OnFailure string
	// QueueTimeout is how long OnFailureQueue lets them wait before they are
	// refused.
	QueueTimeout time.Duration
	// OOMScoreAdj is what the workers get (proc_pid_oom_score_adj(5)), whatever
	// the supervisor has.
	OOMScoreAdj int
	Environment map[string]string
	// Config is given to every worker; a launch may overlay it.
	Config map[string]string
	Spares Spares
	// StartTimeout is the longest time from spawn to ready, and from activate
	// to active.
	StartTimeout time.Duration
	// GracePeriod is how long a worker may take to stop before it is killed.
	GracePeriod time.Duration
	Probe       Probe
	CrashBudget CrashBudget
	// Segments are the shared memory that an active worker gets.
	Segments []shmregistry.Spec
	// Adopt is what becomes of shared memory that workers made themselves and
	// left behind.
	Adopt leak.Mode
	// Heir: workers that can start an heir may (package worker/heir).
	Heir bool
}

// Spares is how many standbys are kept.
type Spares struct {
	// Min is how many there should always be.
	Min int
	// Max is how many may stay when more were started than were needed.
	Max int
}

// The values of Manifest.SessionScope and Manifest.OnFailure.
const (
	ScopeSession          = "session"
	ScopeNamespaceSession = "namespace_session"

	OnFailureQueue  = "queue"
	OnFailureRefuse = "refuse"
)

// Endpoint is what the listening socket of a binding is like.
type Endpoint struct {
	// Backlog is how many connections may wait to be accepted. Where the kernel
	// allows no more than net.core.somaxconn, it cuts this silently.
	Backlog int
	// Mode is the permission bits of a unix socket; 0, the default, is 0666 where
	// the supervisor is root, and 0600 else. Owner and Group are whom it
	// belongs to, by name or number, "" for the supervisor's own.
	Mode         uint32
	Owner, Group string
}

// Probe is how workers are asked for a sign of life.
type Probe struct {
	// Interval is the time between probes; 0 turns them off.
	Interval time.Duration
	// Timeout is how long a worker may take to answer before it counts as hung.
	Timeout time.Duration
	// Failures is how many probes in a row an active worker may leave
	// unanswered before it is replaced. A standby has one.
	Failures int
}

// CrashBudget is how often the worker of one binding may die before the
// binding fails instead of taking another standby.
type CrashBudget struct {
	// Max is how many deaths Window may hold; 0 means no limit.
	Max    int
	Window time.Duration
}

// defaults returns a manifest with everything filled in that has a default.
func defaults() *Manifest {
	return &Manifest{
		Contract:     "sdk",
		SessionScope: ScopeSession,
		Listen:       "unix",
		Endpoint:     Endpoint{Backlog: defaultBacklog},
		OnFailure:    OnFailureQueue,
		QueueTimeout: 30 * time.Second,
		Heir:         true,
		Adopt:        leak.Never,
		Environment:  map[string]string{},
		Config:       map[string]string{},
		Spares:       Spares{Min: 1, Max: maxUnset},
		StartTimeout: 10 * time.Second,
		GracePeriod:  5 * time.Second,
		Probe:        Probe{Interval: time.Second, Timeout: 2 * time.Second, Failures: 1},
		CrashBudget:  CrashBudget{Max: 20, Window: 10 * time.Second},
	}
}

// MaxBacklog is the most that endpoint.backlog may be.
const MaxBacklog = 1 << 20

// Bounds on what a manifest may ask for.
const (
	// maxUnset stands for a spares.max that was not given.
	maxUnset        = -1
	maxSpares       = 1000
	minStartTimeout = 10 * time.Millisecond
	maxStartTimeout = 24 * time.Hour // a large model may take half an hour to load
	maxGracePeriod  = 10 * time.Minute
	minProbe        = 10 * time.Millisecond // a shorter one would be load, not a check
	maxProbe        = time.Hour
	maxFailures     = 100
	maxQueueTimeout = 24 * time.Hour
	defaultBacklog  = 65535
	maxOOMScoreAdj  = 1000
	maxCrashes      = 10_000
	minCrashWindow  = 100 * time.Millisecond
	maxCrashWindow  = 24 * time.Hour
	// maxConfig is the size of config, keys and values, in bytes: with a
	// launch's own it must fit one control message of 64 KiB.
	maxConfig = 16 << 10
)
