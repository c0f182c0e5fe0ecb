package isolation

import (
	"container/list"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/deepqueue"
	"understudy/internal/event"
	"understudy/internal/loop"
	"understudy/patterns"
	"understudy/pool"
	"understudy/takeover"
)

// Engine is what the manager needs of *takeover.Client.
type Engine interface {
	pool.Engine
	Arm(p takeover.Plan, again bool) error
	Disarm(b takeover.BindingID) error
	Handover(w takeover.WorkerID) error
}

// Config is what the manager is told once.
type Config struct {
	RuntimeDir string
	// MaxBindings and MaxPerNamespace bound the bindings; 0 is no limit.
	MaxBindings, MaxPerNamespace int
	// MaxWaiting bounds the launches that wait for a worker; 0 is no limit.
	MaxWaiting   int
	DefaultLevel Level
	// DeepQueues makes unix endpoints whose queue the machine's somaxconn does not
	// cut; nil where that cannot be.
	DeepQueues *deepqueue.Namespace
	// Segments keeps the bindings' shared memory; nil where no pattern has any.
	Segments Segments
	// Epochs keeps epochs from falling over a restart; nil where nothing does.
	Epochs Epochs
	Pool   pool.Config
	Event  event.Sink
	// Unnoticed hears that a worker is dying or dead and the engine has not told
	// of it yet; nil where nobody wants to know.
	Unnoticed func()
}

// Epochs is what the manager needs of *epochs.Mark.
type Epochs interface {
	// Base is the epoch above which bindings begin.
	Base() uint64
	// Use says that an epoch is about to be used, and whether it may be.
	Use(epoch uint64) bool
}

// Bounds on what a launch may carry.
const (
	// maxConfig is the size of a launch's config, keys and values, in bytes:
	// with the manifest's it must fit a control message.
	maxConfig = 32 << 10
	// maxEnded is how many ended bindings are remembered for their epoch.
	maxEnded = 100_000
)

// Manager holds the bindings. Acquire, Release, Lookup, List, Watch and Signal
// are for any goroutine; all else belongs to the loop.
type Manager struct {
	cfg    Config
	loop   *loop.Loop
	engine Engine
	keeper *pool.Keeper
	routes *routeTable

	bindings map[string]*entry
	byID     map[takeover.BindingID]*entry
	nextID   takeover.BindingID
	ended    endedEpochs
	resting  restingPorts
	// perNamespace and perPool count the bindings of each.
	perNamespace map[string]int
	perPool      map[pool.PoolKey]int
	launching    int // launches that wait
	refused      [limitKinds]uint64
	closing      bool
	waiters      map[string]*waiters // by pattern
	// unsure are the standbys that a lost engine may have activated, with their
	// patterns.
	unsure map[takeover.WorkerID]string
	// repeats are what is said again of workers that the engine rejected.
	repeats map[takeover.WorkerID]*repeats
	trouble engineTrouble
	hedges  hedges
	// watched are the bindings whose endpoints are still to be looked at in this
	// round; watching: watchEndpoints runs.
	watched  []*entry
	watching bool
	// reasserted are those whose plans are still to be repeated in this round.
	reasserted []*entry
}

// entry is one binding with all that belongs to it.
type entry struct {
	Binding
	id       takeover.BindingID
	phase    phase
	manifest *patterns.Manifest
	endpoint *endpoint
	grace    time.Duration
	deadline *loop.Timer
	launched []chan<- error
	released []chan<- struct{}
	deaths   []time.Time
	judged   takeover.WorkerID // the last one whose life was counted
	until    time.Time         // quarantine, or the pause of a crash loop
	failure  error             // why the last launch or recovery failed
	failed   time.Time         // since when it is
	waiting  time.Time         // since when it waits for a worker
	waits    waitKind          // for what; place is where among the others
	place    *list.Element
	death    int64       // kernel's time of the last death
	sent     int64       // when its worker was sent the activation; 0 once it serves
	arming   bool        // armLater has promised it
	queued   *loop.Timer // when its clients have waited long enough
	repeats  repeats     // of its plan
	answer   *loop.Timer // when the engine is asked what became of its plan
	refused  uint64      // the last epoch that the engine refused
	// unreachable: its endpoint is broken, and could not be made again so far.
	unreachable bool
	// pendingLooks is how many looks in a row found clients in the accept queue;
	// asking: it is being looked at who can accept them.
	pendingLooks int
	asking       bool
	// early is the word of workers that they serve, come before the engine's.
	early map[takeover.WorkerID]uint64
}

// pool is the key of the pool that the binding's workers come from.
func (e *entry) pool() pool.PoolKey { return pool.PoolKey(e.Pattern) }

// endedEpochs remembers the last epoch of bindings that ended: a binding made
// anew goes on from there, so that an epoch never goes back.
type endedEpochs struct {
	epoch map[string]uint64
	order []string
	// floor is the highest epoch of those that are forgotten.
	floor uint64
}

func (e *endedEpochs) put(id string, epoch uint64) {
	if _, ok := e.epoch[id]; !ok {
		e.order = append(e.order, id)
	}
	e.epoch[id] = epoch
	for len(e.order) > maxEnded {
		e.floor = max(e.floor, e.epoch[e.order[0]])
		delete(e.epoch, e.order[0])
		e.order = e.order[1:]
	}
}

// NewManager returns a manager and the keeper of its workers, which belong to
// the loop.
func NewManager(cfg Config, l *loop.Loop, reaper pool.Reaper, engine Engine) *Manager {
	m := &Manager{cfg: cfg, loop: l, engine: engine, routes: newRouteTable(), waiters: make(map[string]*waiters),
		bindings: make(map[string]*entry), perNamespace: make(map[string]int), perPool: make(map[pool.PoolKey]int), byID: make(map[takeover.BindingID]*entry),
		ended: endedEpochs{epoch: make(map[string]uint64), floor: baseOf(cfg.Epochs)}, unsure: make(map[takeover.WorkerID]string),
		repeats: make(map[takeover.WorkerID]*repeats), hedges: hedges{times: make(map[string]*activationTimes)}}
	forgetNames(cfg.RuntimeDir)
	m.keeper = pool.NewKeeper(cfg.Pool, l, reaper, engine, pool.Hooks{
		Ready:       m.workerReady,
		Serving:     m.workerServing,
		Draining:    m.workerDraining,
		Exited:      m.workerExited,
		StartFailed: func(key pool.PoolKey, err *pool.StartError) { m.startFailed(key, err) },
		Event:       cfg.Event,
		Unnoticed:   cfg.Unnoticed,
	})
	return m
}

func baseOf(e Epochs) uint64 {
	if e == nil {
		return 0
	}
	return e.Base()
}

// Keeper returns the keeper of the workers, for the loop.
func (m *Manager) Keeper() *pool.Keeper { return m.keeper }

// Watch follows the routes of a pattern, or all with "".
func (m *Manager) Watch(pattern string) *Watcher { return m.routes.watch(pattern) }

// Acquire binds a key to an active worker and waits until it accepts; a bound
// key gives the same binding. Errors: *FieldError, ErrUnknownPattern,
// *pool.StartError, ErrQuarantined, ErrCrashLoop, ErrTerminated, ErrClosed, ctx's.
func (m *Manager) Acquire(ctx context.Context, r AcquireRequest) (Binding, error) {
	if r.Pattern == "" {
		return Binding{}, &FieldError{Field: "pattern_name", Reason: "must not be empty"}
	}
	size := 0
	for k, v := range r.Config {
		size += len(k) + len(v)
	}
	if size > maxConfig {
		return Binding{}, &FieldError{Field: "config", Reason: fmt.Sprintf("is %d bytes, at most %d are allowed", size, maxConfig)}
	}
	done := make(chan error, 1)
	var processID string
	if err := m.call(ctx, func() error {
		var err error
		processID, err = m.launch(r, done)
		return err
	}); err != nil {
		return Binding{}, err
	}
	var failed error
	select {
	case failed = <-done:
	case <-ctx.Done():
		failed = fmt.Errorf("%s: %w", processID, ctx.Err())
	}
	b := Binding{ProcessID: processID, State: Failed}
	if err := m.call(context.WithoutCancel(ctx), func() error {
		if e := m.bindings[processID]; e != nil {
			b = m.snapshot(e)
			if i := slices.Index(e.launched, (chan<- error)(done)); i >= 0 { // it waits no more
				e.launched = slices.Delete(e.launched, i, i+1)
				m.launching--
			}
		}
		return nil
	}); err != nil && failed == nil {
		failed = err
	}
	m.addOwnObjects(&b)
	return b, failed
}

// Release ends a binding and waits until its worker is gone. Errors:
// ErrUnknownBinding, ErrClosed, ctx's.
func (m *Manager) Release(ctx context.Context, processID string, o ReleaseOptions) error {
	done := make(chan struct{}, 1)
	if err := m.call(ctx, func() error {
		e := m.bindings[processID]
		if e == nil {
			return fmt.Errorf("%w %s", ErrUnknownBinding, quote(processID))
		}
		if o.Grace > 0 {
			e.grace = o.Grace
		}
		e.released = append(e.released, done)
		m.apply(e, input{kind: inRelease, force: o.Force})
		if w := m.keeper.Worker(e.phase.worker); w != nil && o.Grace > 0 && e.phase.state == Draining && !e.phase.disarming {
			m.keeper.End(w, o.Grace, false) // only an earlier end counts
		}
		return nil
	}); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", processID, ctx.Err())
	}
}

// Signal sends a signal to the active worker of a binding and returns its pid.
// Errors: ErrUnknownBinding, ErrNoActiveWorker.
func (m *Manager) Signal(ctx context.Context, processID string, sig unix.Signal) (pid int, err error) {
	var got int // the loop's, until call has heard from it
	err = m.call(ctx, func() error {
		e := m.bindings[processID]
		if e == nil {
			return fmt.Errorf("%w %s", ErrUnknownBinding, quote(processID))
		}
		w := m.keeper.Worker(e.phase.worker)
		if w == nil {
			return fmt.Errorf("%w for %s", ErrNoActiveWorker, processID)
		}
		got = w.Pid
		if err := m.keeper.Signal(w, sig); err != nil {
			return fmt.Errorf("%w for %s: %v", ErrNoActiveWorker, processID, err)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return got, nil
}

// call runs f on the loop and waits for it.
func (m *Manager) call(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	if err := m.loop.Post(func() { done <- f() }); err != nil {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-m.loop.Ended():
		select {
		case err := <-done:
			return err
		default:
			return ErrClosed
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}
