package pool

import (
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"understudy/internal/cgroup"
	"understudy/internal/event"
	"understudy/internal/loop"
	"understudy/internal/pace"
	"understudy/patterns"
	"understudy/sentinel"
	"understudy/shmregistry/leak"
	"understudy/takeover"
)

// Reaper watches processes until they can be reaped; *sentinel.Sentinel is one.
type Reaper interface {
	Watch(pid, pidfd int, h sentinel.Handler) error
	Unwatch(pid int)
	// Mute keeps an exit back until Unmute.
	Mute(pid int) bool
	Unmute(pid int)
}

// Engine is what the keeper needs of *takeover.Client.
type Engine interface {
	Watch(w takeover.WorkerID, pid, pidfd, control, procs int) error
	Heir(w takeover.WorkerID, pid, doomSocket int) error
	Offer(w takeover.WorkerID, p takeover.PoolID, again bool) error
	Withdraw(w takeover.WorkerID) error
	Condemn(w takeover.WorkerID) error
	Forget(w takeover.WorkerID) error
}

// Hooks are what the keeper tells its owner. All are called on the loop.
type Hooks struct {
	// Ready: w is a standby.
	Ready func(w *Worker)
	// Serving: w says that it accepts for processID at epoch.
	Serving func(w *Worker, processID string, epoch uint64)
	// Draining: the active worker w says that it wants to stop, or was asked to
	// by somebody else, and why. It goes on accepting until its successor is
	// active and End is called, or for a second.
	Draining func(w *Worker, reason string)
	// Exited: the process of w is gone.
	Exited func(w *Worker, cause Cause)
	// StartFailed: a worker of a pool did not become a standby.
	StartFailed func(pool PoolKey, err *StartError)
	// Event takes what happened.
	Event event.Sink
	// Unnoticed: a worker is dying or dead, and the engine has not told of it. It
	// may be nil.
	Unnoticed func()
}

// Config bounds the starting of workers.
type Config struct {
	// MaxConcurrentStarts is how many workers may be starting at once.
	MaxConcurrentStarts int
	// MaxWorkers bounds the processes, standbys included; 0 is no limit.
	MaxWorkers int
	// Descriptors says how many file descriptors are in use, and how many may be;
	// nil: there is no limit.
	Descriptors func() (used, most int)
	// BackoffMin and BackoffMax bound the wait after a failed start.
	BackoffMin, BackoffMax time.Duration
	Log                    *slog.Logger
	// Realtime asks for real-time priority for whatever cuts the connections of
	// a dead worker.
	Realtime bool
	// Leaks looks after shared memory that workers make themselves; nil where
	// nobody does.
	Leaks Leaks
	// Groups gives each worker a control group; nil: none.
	Groups *cgroup.Tree
	// Strays: this process is the parent of what dead workers leave behind
	// (PR_SET_CHILD_SUBREAPER). It is ended where there are no groups.
	Strays bool
	// Instance marks the workers of one supervisor, in UNDERSTUDY_INSTANCE.
	Instance string
	// Pace is what workers may not do.
	Pace pace.Switches
}

// Leaks is what the keeper needs of the search for shared memory that workers
// make themselves. Each Expect is followed by a Watch, with pid 0 where the
// worker could not be started, and each other Watch by an Ended.
type Leaks interface {
	Expect(mode leak.Mode)
	Watch(pid int, mode leak.Mode)
	Ended(pid int)
	Usage(pid int) (objects int, bytes int64)
}

// Keeper holds the workers of every pattern. Its methods are for the loop only.
type Keeper struct {
	cfg    Config
	loop   *loop.Loop
	reaper Reaper
	engine Engine
	hooks  Hooks

	pools     map[PoolKey]*workerPool
	order     []*workerPool // for turns and stable listings
	workers   map[takeover.WorkerID]*Worker
	byPid     map[int]*Worker
	nextID    takeover.WorkerID
	running   int // starts under way
	heirs     heirs
	stopping  bool
	refilling bool // fillLater has promised a fill

	droppedLines atomic.Int64
	groups       int  // control groups that are being removed
	toldOOM      bool // that a worker's OOM score could not be set
}

func (k *Keeper) surroundings() surroundings {
	return surroundings{groups: k.cfg.Groups, instance: k.cfg.Instance, pace: k.cfg.Pace}
}

// NewKeeper returns a keeper without patterns, which belongs to the loop.
func NewKeeper(cfg Config, l *loop.Loop, reaper Reaper, engine Engine, hooks Hooks) *Keeper {
	k := &Keeper{cfg: cfg, loop: l, reaper: reaper, engine: engine, hooks: hooks,
		pools:   make(map[PoolKey]*workerPool),
		workers: make(map[takeover.WorkerID]*Worker),
		byPid:   make(map[int]*Worker),
	}
	k.heirs = heirs{reaper: reaper, post: k.post, realtime: cfg.Realtime, pidfds: make(map[int]*os.File), told: make(map[int]*Worker), gone: k.heirGone}
	return k
}

// AddPool makes a pool known and begins to fill it.
func (k *Keeper) AddPool(key PoolKey, m *patterns.Manifest) {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = k.cfg.BackoffMin, k.cfg.BackoffMax
	p := &workerPool{id: takeover.PoolID(len(k.order) + 1), key: key, manifest: m, backoff: b}
	k.pools[key] = p
	k.order = append(k.order, p)
	k.fill()
}

// Manifest returns the manifest of a pool's workers, or nil.
func (k *Keeper) Manifest(pool PoolKey) *patterns.Manifest {
	if p := k.pools[pool]; p != nil {
		return p.manifest
	}
	return nil
}

// PoolOf returns the id under which a pool's standbys are offered.
func (k *Keeper) PoolOf(pool PoolKey) takeover.PoolID { return k.pools[pool].id }

// Demand says how many bindings wait for a worker of a pool now: as many are
// started beyond the spares, and the backoff of the spares does not hold them
// back. A binding whose own backoff is not over is not to be counted.
func (k *Keeper) Demand(pool PoolKey, n int) {
	k.pools[pool].demand = n
	k.fill()
}

// LastFailure is the newest failed start of a pool, nil after a good one.
func (k *Keeper) LastFailure(pool PoolKey) error { return k.pools[pool].failure }

// Standbys is how many workers of a pool are standing by.
func (k *Keeper) Standbys(pool PoolKey) int { return k.pools[pool].counts[Standby] }

// StartTime is how long a worker of a pool typically takes from spawn to
// standby: a mean in which newer starts count more. 0 before the first.
func (k *Keeper) StartTime(pool PoolKey) time.Duration { return k.pools[pool].startTime }

// Activated notes that the engine gave a worker to a binding, at an epoch. It
// returns nil where the worker is gone already.
func (k *Keeper) Activated(id takeover.WorkerID, processID string, epoch uint64) *Worker {
	w := k.workers[id]
	if w == nil || !w.alive() {
		return nil
	}
	w.ProcessID, w.Epoch = processID, epoch
	w.log = w.log.With("process_id", processID)
	k.feed(w, input{kind: inActivated})
	w.pool.backoff.Reset()
	k.fillLater()
	return w
}

// Noticed hears that the engine has told of a worker's death.
func (k *Keeper) Noticed(w *Worker) {
	w.noticed = true
	if w.alive() {
		k.reaper.Unmute(w.Pid)
	}
}

// unnoticed tells, where the engine has not, of a worker that seems to be dead.
func (k *Keeper) unnoticed(w *Worker) {
	if !w.noticed && k.hooks.Unnoticed != nil {
		k.hooks.Unnoticed()
	}
}

// Count is how many workers there are, or are being made.
func (k *Keeper) Count() int { return len(k.workers) }

// room is how many more workers there may be.
func (k *Keeper) room() int {
	fits := k.Fits()
	if k.cfg.MaxWorkers <= 0 {
		return fits
	}
	return max(0, min(fits, k.cfg.MaxWorkers-len(k.workers)))
}

// Owns reports whether a child of this process is a worker or a heir, whose
// status is waited for. While a process is being made, any child may be one.
func (k *Keeper) Owns(pid int) bool {
	if k.known(pid) {
		return true
	}
	for _, p := range k.order {
		if p.counts[Starting] > 0 {
			return true
		}
	}
	return false
}

// Worker returns a worker by id, or nil.
func (k *Keeper) Worker(id takeover.WorkerID) *Worker { return k.workers[id] }

// DroppedLines counts the lines of output that were not logged.
func (k *Keeper) DroppedLines() int64 { return k.droppedLines.Load() }

// Workers returns every worker that has a process, by id.
func (k *Keeper) Workers() []*Worker {
	var out []*Worker
	for _, w := range k.workers {
		if w.alive() {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b *Worker) int { return int(a.ID) - int(b.ID) })
	return out
}

// Withdrawn takes the engine's answer: a standby that is ours again is retired.
func (k *Keeper) Withdrawn(id takeover.WorkerID, ok bool) {
	if w := k.workers[id]; w != nil {
		k.feed(w, input{kind: inWithdrawn, ok: ok, now: time.Now()})
	}
}

// Reconnect tells a new engine everything. A standby may have been activated
// by the old engine without our hearing of it, so each is asked by a probe
// before it is offered again; what its answer says it serves goes to Serving.
// The workers asked are returned: nothing may be armed for a binding without
// a worker until none of them is left in Warming.
func (k *Keeper) Reconnect(engine Engine) []*Worker {
	k.engine = engine
	var asked []*Worker
	for _, w := range k.Workers() {
		k.introduce(w)
		k.feed(w, input{kind: inEngineLost})
		if w.life.state == Warming && w.life.warm {
			asked = append(asked, w)
		}
	}
	return asked
}

// Repeat says again to the engine what it did not take of a worker.
func (k *Keeper) Repeat(w *Worker) {
	if w.alive() {
		k.introduce(w)
		k.feed(w, input{kind: inNotTaken})
	}
}

// Reassert repeats to the engine which workers are standbys, and looks for
// deaths that nobody reported. It returns how many of those there were.
func (k *Keeper) Reassert() (missed int) {
	for _, w := range k.Workers() {
		k.feed(w, input{kind: inReassert})
		if w.Dead() {
			k.feed(w, input{kind: inSeenDead})
			if !w.alive() { // it was reaped
				missed++
			}
		}
	}
	k.fill() // room may have come that nobody told of
	return missed
}
