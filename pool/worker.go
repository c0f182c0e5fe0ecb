package pool

import (
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/cgroup"
	"understudy/internal/loop"
	"understudy/internal/poll"
	"understudy/internal/procfs"
	"understudy/sentinel"
	"understudy/takeover"
)

// Worker is one process of a pattern. It belongs to the loop.
type Worker struct {
	ID takeover.WorkerID
	// Name is the pattern's name and a number, such as "echo-7".
	Name string
	Pid  int
	// ProcessID is the binding that an active worker serves, for log lines.
	ProcessID string
	// Epoch is the one it was activated for, 0 before.
	Epoch uint64

	life   life
	timers [timerCount]*loop.Timer

	pool    *workerPool
	log     *slog.Logger
	pidfd   *os.File
	link    link
	doom    *os.File      // our end of the doom socket; nil where none was made
	group   *cgroup.Group // nil without one
	procs   *os.File      // its cgroup.procs, for the engine to duplicate
	heard   chan struct{} // closed when all that it said is posted; nil before
	output  *capture
	gaveUp  bool // it has said so
	heir    int  // pid of its heir, 0 without one that we know of
	started time.Time
	warmAt  time.Time // since when it is a standby
	// heirTold is the pid of the heir that it has told of, or 0.
	heirTold int
	// noticed: the engine has told of its death.
	noticed bool
	status  *sentinel.Status // nil before it is reaped
}

// State is where it stands in its life.
func (w *Worker) State() State { return w.life.state }

// Healthy reports whether its last probe was answered in time.
func (w *Worker) Healthy() bool { return w.life.healthy }

// Pool is the key of the worker's pool.
func (w *Worker) Pool() PoolKey { return w.pool.key }

// Pattern is the name of the worker's pattern.
func (w *Worker) Pattern() string { return w.pool.manifest.Name }

// Reaped reports whether the worker's process is gone and its status taken.
func (w *Worker) Reaped() bool { return w.status != nil }

// Dead reports whether a worker's process has ended, whoever told us or not.
func (w *Worker) Dead() bool {
	if !w.alive() {
		return true
	}
	ready, err := poll.Now(int(w.pidfd.Fd()), unix.POLLIN)
	return err == nil && ready != 0
}

func (w *Worker) alive() bool { return w.life.alive() }

// Processes are the pids of a living worker and of what it started. Where it has
// no control group, all of /proc is looked at. It is not for the loop.
func (w *Worker) Processes() []int {
	if w.group != nil {
		if pids, err := w.group.Pids(); err == nil {
			return pids
		}
	}
	return append(procfs.All(func(pid int) bool { return pid != w.Pid && marked(pid, w.Name) }), w.Pid)
}

// cause says how a worker ended: our reason for killing it, or its own way.
func (w *Worker) cause() Cause {
	c := w.life.ended()
	c.Status = w.status
	return c
}

// close closes what the worker's words come in by.
func (w *Worker) close() {
	w.link.close()
	w.output.close()
}
