package pool

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/protobuf/proto"

	"understudy/internal/cgroup"
	"understudy/internal/control"
	"understudy/internal/event"
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
	post   func(func())
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

// PoolKey names a pool. It is opaque here; today it is the pattern's name.
type PoolKey string

// workerPool is the workers that can stand in for each other.
type workerPool struct {
	id       takeover.PoolID
	key      PoolKey
	manifest *patterns.Manifest
	demand   int
	counts   [Failed + 1]int
	backoff  *backoff.ExponentialBackOff
	retryAt  time.Time // zero: not blocked
	retry    *time.Timer
	// blockedAt is when a start was last held back.
	blockedAt time.Time

	starts, failures int64
	failure          error         // the newest failed start, nil after a good one
	startTime        time.Duration // see StartTime
	// demandAt is when the next start for a waiting binding may be; zero: now.
	demandAt time.Time
}

// NewKeeper returns a keeper without patterns. post runs a function on the
// loop; it may block while the loop is busy, and is never called on the loop.
func NewKeeper(cfg Config, post func(func()), reaper Reaper, engine Engine, hooks Hooks) *Keeper {
	return &Keeper{cfg: cfg, post: post, reaper: reaper, engine: engine, hooks: hooks,
		pools:   make(map[PoolKey]*workerPool),
		workers: make(map[takeover.WorkerID]*Worker),
		byPid:   make(map[int]*Worker),
		heirs:   heirs{reaper: reaper, post: post, realtime: cfg.Realtime, pidfds: make(map[int]*os.File), told: make(map[int]bool)},
	}
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

// Activated notes that the engine gave a worker to a binding, at an epoch. It returns nil
// where the worker is gone already.
func (k *Keeper) Activated(id takeover.WorkerID, processID string, epoch uint64) *Worker {
	w := k.workers[id]
	if w == nil || !w.alive() {
		return nil
	}
	w.ProcessID, w.Epoch = processID, epoch
	w.log = w.log.With("process_id", processID)
	k.move(w, Active)
	k.disarmDeadline(w) // Reconnect's, where its word comes before its answer
	// The engine tells of its death, when the first millisecond of its successor
	// is over. The reaper would wake us in it.
	k.reaper.Mute(w.Pid)
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
	if k.byPid[pid] != nil || k.heirs.pidfds[pid] != nil {
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

// Stats returns a snapshot of every pool, in the order of their names' adding.
func (k *Keeper) Stats() []Stats {
	out := make([]Stats, 0, len(k.order))
	for _, p := range k.order {
		s := Stats{Pattern: p.manifest.Name, Min: p.manifest.Spares.Min, Max: p.manifest.Spares.Max,
			Standby: p.counts[Standby], Starting: p.counts[Starting] + p.counts[Warming],
			Active: p.counts[Active], Draining: p.counts[Draining],
			Started: p.starts, StartFailures: p.failures}
		if p.failure != nil {
			s.LastError = p.failure.Error()
		}
		if !p.retryAt.IsZero() {
			s.Backoff = max(0, time.Until(p.retryAt))
		}
		out = append(out, s)
	}
	return out
}

// DroppedLines counts the lines of output that were not logged.
func (k *Keeper) DroppedLines() int64 { return k.droppedLines.Load() }

// fillLater fills the pools when whoever was activated has had its moment.
// Bindings that wait do not wait for that: their demand fills at once.
func (k *Keeper) fillLater() {
	if k.refilling {
		return
	}
	k.refilling = true
	k.after(pace.Refill, func() {
		k.refilling = false
		k.fill()
	})
}

// fill starts what is missing and retires what is too many.
func (k *Keeper) fill() {
	if k.stopping {
		return
	}
	views := make([]census, len(k.order))
	for i, p := range k.order {
		views[i] = census{min: p.manifest.Spares.Min, max: p.manifest.Spares.Max, standby: p.counts[Standby],
			starting: p.counts[Starting] + p.counts[Warming], demand: p.demand, blocked: !p.retryAt.IsZero(),
			held: !p.demandAt.IsZero()}
	}
	for i, n := range planStarts(views, k.running, k.cfg.MaxConcurrentStarts) {
		for range min(n, k.room()) {
			k.start(k.order[i])
		}
	}
	for i, p := range k.order {
		k.retire(p, views[i].surplus())
	}
}

// retire asks the engine for n standbys back; Withdrawn brings them.
func (k *Keeper) retire(p *workerPool, n int) {
	if n == 0 {
		return
	}
	for _, w := range k.workers {
		if w.withdrawing && w.pool == p {
			n--
		}
	}
	for _, w := range k.workers {
		if n > 0 && w.pool == p && w.State == Standby && !w.withdrawing {
			w.withdrawing = true
			k.command("withdraw", w, k.engine.Withdraw(w.ID))
			n--
		}
	}
}

// Withdrawn takes the engine's answer: a standby that is ours again is retired.
func (k *Keeper) Withdrawn(id takeover.WorkerID, ok bool) {
	w := k.workers[id]
	if w == nil {
		return
	}
	w.withdrawing = false
	if ok && w.State == Standby {
		k.End(w, w.pool.manifest.GracePeriod, false)
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
	for _, w := range k.workers {
		if !w.alive() {
			continue
		}
		k.introduce(w)
		if w.State == Standby || w.State == Warming && w.wasWarm { // asked already, by an engine that is gone too
			k.move(w, Warming)
			w.withdrawing = false
			w.probe.stop()
			k.armDeadline(w, w.pool.manifest.Probe.Timeout, func() {
				k.fail(w, CauseHung, fmt.Errorf("no answer to a probe within %v", w.pool.manifest.Probe.Timeout))
			})
			k.sendProbe(w)
			asked = append(asked, w)
		}
	}
	return asked
}

// Reassert repeats to the engine which workers are standbys, and looks for
// deaths that nobody reported. It returns how many of those there were.
func (k *Keeper) Reassert() (missed int) {
	for _, w := range k.Workers() {
		switch {
		case w.State != Standby:
		case w.withdrawing: // the engine's answer may have been lost
			k.command("withdraw", w, k.engine.Withdraw(w.ID))
		default:
			k.command("offer", w, k.engine.Offer(w.ID, w.pool.id, true))
		}
		if !w.Dead() {
			continue
		}
		if w.deadBefore { // the last pass saw it too: nobody will tell
			missed++
			k.exited(w)
		}
		w.deadBefore = true
	}
	k.fill() // room may have come that nobody told of
	return missed
}

// introduce makes a worker known to the engine, and its heir where it has told
// of one.
func (k *Keeper) introduce(w *Worker) {
	procs := -1
	if w.procs != nil {
		procs = int(w.procs.Fd())
	}
	k.command("watch", w, k.engine.Watch(w.ID, w.Pid, int(w.pidfd.Fd()), int(w.raw.Fd()), procs))
	if w.heir != 0 {
		k.introduceHeir(w)
	}
}

// Repeat says again to the engine what it did not take of a worker.
func (k *Keeper) Repeat(w *Worker) {
	if !w.alive() {
		return
	}
	k.introduce(w)
	if w.State == Standby && !w.withdrawing {
		k.command("offer", w, k.engine.Offer(w.ID, w.pool.id, false))
	}
}

func (k *Keeper) introduceHeir(w *Worker) {
	if w.doom != nil {
		k.command("heir", w, k.engine.Heir(w.ID, w.heir, int(w.doom.Fd())))
	}
}

// command logs that the engine did not take a command. The engine's end is
// noticed elsewhere, and the next one is told everything.
func (k *Keeper) command(what string, w *Worker, err error) {
	if err != nil {
		w.log.Warn("takeover engine is gone", "command", what, "error", err)
	}
}

// tell sends w a message. A worker that does not take it is dying or hung:
// its death or its probe says so.
func (k *Keeper) tell(w *Worker, m proto.Message) {
	if w.control == nil {
		return // it could not be made, and the worker is being killed
	}
	b, err := control.Encode(m)
	if err == nil {
		err = w.control.Send(b)
	}
	if err != nil {
		w.log.Debug("worker does not take a message", "error", err)
	}
}

func (k *Keeper) move(w *Worker, to State) {
	w.pool.counts[w.State]--
	w.pool.counts[to]++
	w.State = to
}

func (k *Keeper) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() { k.post(f) })
}

func (k *Keeper) emit(w *Worker, kind event.Kind, message string, facts map[string]string) {
	k.hooks.Event(event.Event{Time: time.Now(), Kind: kind, Pattern: w.Pattern(), ProcessID: w.ProcessID,
		Worker: w.Name, Pid: w.Pid, Message: message, Facts: facts})
}

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
