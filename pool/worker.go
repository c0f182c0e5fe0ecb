package pool

import (
	"log/slog"
	"os"
	"time"

	"understudy/internal/cgroup"
	"understudy/internal/control"
	"understudy/sentinel"
	"understudy/takeover"
)

// State is where a worker stands in its life.
type State uint8

// The states of a worker, in their order; Failed can follow any of them.
const (
	// Starting: the process is being made.
	Starting State = iota
	// Warming: the process runs and has not passed its first probe yet.
	Warming
	// Standby: warm, serves no key.
	Standby
	// Active: serves a key.
	Active
	// Draining: was asked to stop.
	Draining
	// Terminated: ended after it was asked to.
	Terminated
	// Failed: died, or hung and was killed.
	Failed
)

var stateNames = [...]string{"starting", "warming", "standby", "active", "draining", "terminated", "failed"}

// String returns the state's name in lower case.
func (s State) String() string { return stateNames[s] }

// Worker is one process of a pattern. It belongs to the loop.
type Worker struct {
	ID takeover.WorkerID
	// Name is the pattern's name and a number, such as "echo-7".
	Name  string
	Pid   int
	State State
	// Healthy: the last probe was answered in time.
	Healthy bool
	// ProcessID is the binding that an active worker serves, for log lines.
	ProcessID string
	// Epoch is the one it was activated for, 0 before.
	Epoch uint64

	pool    *workerPool
	log     *slog.Logger
	pidfd   *os.File
	control *control.Conn
	raw     *os.File      // the control socket, for the engine to duplicate
	doom    *os.File      // our end of the doom socket; nil where none was made
	group   *cgroup.Group // nil without one
	procs   *os.File      // its cgroup.procs, for the engine to duplicate
	heard   chan struct{} // closed when all that it said is posted; nil before
	output  *output
	heir    int // pid of its heir, 0 without one that we know of
	started time.Time
	warmAt  time.Time // since when it is a standby

	stopBy   time.Time   // while it drains: when it is killed
	deadline *time.Timer // start deadline, then grace period
	probe    probing
	why      Cause // why it is being killed, where that is our doing; no kind before
	failStep Step
	status   *sentinel.Status
	// withdrawing: the engine was asked to give it back for retirement.
	withdrawing bool
	// deadBefore: a reconcile pass found the process dead and not reaped.
	deadBefore bool
	// heirTold is the pid of the heir that it has told of, or 0.
	heirTold int
	// noticed: the engine has told of its death.
	noticed bool
	// wasWarm: it has been a standby; its start is over.
	wasWarm bool
}

// step is the part of a start that a worker is at.
func (w *Worker) step() Step {
	switch {
	case w.wasWarm:
		return StepActivate
	case w.probe.id > 0:
		return StepProbe
	}
	return StepHandshake
}

// Pool is the key of the worker's pool.
func (w *Worker) Pool() PoolKey { return w.pool.key }

// Pattern is the name of the worker's pattern.
func (w *Worker) Pattern() string { return w.pool.manifest.Name }

// Reaped reports whether the worker's process is gone and its status taken.
func (w *Worker) Reaped() bool { return w.status != nil }

func (w *Worker) alive() bool { return w.pidfd != nil && w.status == nil }

// silence closes what the worker's words come in by.
func (w *Worker) silence() {
	if w.control != nil {
		w.control.Close()
	}
	w.output.close()
}

func (w *Worker) stopTimers() {
	if w.deadline != nil {
		w.deadline.Stop()
	}
	w.probe.stop()
}
