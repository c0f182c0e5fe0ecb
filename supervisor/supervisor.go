// Package supervisor puts the rooms together: it makes the event loop that the
// pool and the bindings share, starts the takeover engine and keeps it, serves
// the API, and reconciles. It is the whole of understudyd but for flags and
// signals, and can be used as a library.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"understudy/internal/api"
	"understudy/internal/cgroup"
	"understudy/internal/deepqueue"
	"understudy/internal/dirlock"
	"understudy/internal/epochs"
	"understudy/internal/event"
	"understudy/internal/loop"
	"understudy/internal/observe"
	"understudy/internal/paths"
	"understudy/isolation"
	"understudy/patterns"
	"understudy/pool"
	"understudy/sentinel"
	"understudy/shmregistry"
	"understudy/takeover"
)

// Supervisor is one running supervisor. Make it with New, run it once.
type Supervisor struct {
	cfg     Config
	log     *slog.Logger
	loop    *loop.Loop
	hub     *observe.Hub
	metrics *observe.Metrics
	begun   time.Time
	ready   chan struct{}
	addrs   Addrs
	api     *api.Server // from serve on

	segments    *shmregistry.Registry
	leaks       *leaks
	groups      *cgroup.Tree // nil without control groups, and then whyNoGroups
	whyNoGroups string
	strays      bool                 // we are the parent of what dead workers leave behind
	queues      *deepqueue.Namespace // nil without, and then whyNoQueues
	whyNoQueues string

	features atomic.Pointer[[]sentinel.Feature]
	repairs  atomic.Uint64
	// engineDropped are the events that found no way from the engines to us.
	engineDropped atomic.Uint64

	// Of the loop:
	manager      *isolation.Manager
	engine       *takeover.Client
	pings, pongs int
	heard        uint64           // events of engines
	doubted      bool             // expectEngine waits for a word of the engine
	replaced     *takeover.Client // the engine that was ended last, for hanging
	lastDropped  uint64           // what the engine of now said of them
	stopping     bool
	leaving      error // why the loop ends before it is idle
}

// Addrs is where a supervisor listens, "" for what is turned off.
type Addrs struct {
	GRPC, Unix, Metrics, Health string
}

// New checks a configuration, and that the patterns directory can be read. It
// starts nothing.
func New(cfg Config, log *slog.Logger) (*Supervisor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := readable(cfg.PatternsDir); err != nil {
		return nil, err
	}
	return &Supervisor{cfg: cfg, log: log, loop: loop.New(), hub: observe.NewHub(), metrics: observe.NewMetrics(),
		begun: time.Now(), ready: make(chan struct{})}, nil
}

// Ready is closed when the API is served.
func (s *Supervisor) Ready() <-chan struct{} { return s.ready }

// Addrs is where it listens, once it is ready.
func (s *Supervisor) Addrs() Addrs { return s.addrs }

// Run supervises until ctx ends, then ends every binding and worker within
// their grace periods and returns nil. Errors: dirlock.ErrLocked, whatever keeps it
// from beginning, and what its end had to go on without.
func (s *Supervisor) Run(ctx context.Context) (err error) {
	level, err := isolation.ParseLevel(s.cfg.DefaultIsolation)
	if err != nil {
		return err
	}
	lock, err := dirlock.Take(s.cfg.RuntimeDir, "lock") // the state directory is the registry's to lock
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := isolation.MakeDir(s.cfg.RuntimeDir); err != nil {
		return err
	}
	if err := s.openSegments(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.segments.Close()) }()
	if err := s.openGroups(); err != nil {
		return err
	}
	if s.groups != nil {
		defer func() {
			err = errors.Join(err, s.groups.Close())
			s.sweepGroups() // workers of earlier lives can have ended meanwhile
		}()
	}
	s.adoptStrays()
	if s.openQueues(); s.queues != nil {
		defer s.queues.Close()
	}
	s.openLeaks()
	defer s.leaks.close()
	mark := epochs.Open(s.cfg.StateDir, s.log)
	defer func() { err = errors.Join(err, mark.Close()) }()
	good, bad := patterns.Discover(s.cfg.PatternsDir)
	for _, err := range bad {
		s.log.Error("pattern is left out", "error", err)
	}
	reaper, err := sentinel.New(sentinel.Options{Source: sentinel.SourcePidfd})
	if err != nil {
		return err
	}
	reaping := make(chan error, 1)
	go func() { reaping <- reaper.Run(func() {}) }()
	defer func() {
		reaper.Close()
		err = errors.Join(err, <-reaping)
	}()

	engine, err := s.startEngine()
	if err != nil {
		return err
	}
	s.engine = engine
	s.manager = isolation.NewManager(isolation.Config{
		RuntimeDir:   s.cfg.RuntimeDir,
		DefaultLevel: level,
		DeepQueues:   s.queues,
		MaxBindings:  s.cfg.Limits.Bindings, MaxPerNamespace: s.cfg.Limits.BindingsPerNamespace, MaxWaiting: s.cfg.Limits.WaitingLaunches,
		Event: s.events, Unnoticed: s.expectEngine,
		Segments: s.segments,
		Epochs:   mark,
		Pool: pool.Config{
			Leaks:               s.leaks,
			Groups:              s.groups,
			Strays:              s.strays,
			MaxWorkers:          s.cfg.Limits.Workers,
			Descriptors:         countDescriptors,
			Instance:            paths.Instance(s.cfg.RuntimeDir),
			Pace:                s.cfg.Pace,
			Realtime:            s.cfg.Sentinel.Realtime,
			MaxConcurrentStarts: s.cfg.ProcessManager.MaxConcurrentStarts,
			BackoffMin:          s.cfg.ProcessManager.BackoffPeriod.Min,
			BackoffMax:          s.cfg.ProcessManager.BackoffPeriod.Max,
			Log:                 s.log,
		},
	}, s.loop, reaper, engine)
	go s.loop.Run(func() bool { return s.stopping && s.manager.Idle() || s.leaving != nil })

	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var tasks errgroup.Group
	tasks.Go(func() error { return s.keepEngine(running, engine) })
	tasks.Go(func() error { s.reconcile(running); return nil })
	tasks.Go(func() error { s.beatEngine(running); return nil })
	tasks.Go(func() error { s.reapOrphans(running); return nil })
	_ = s.loop.Post(func() {
		for _, m := range good {
			s.manager.Keeper().AddPool(pool.PoolKey(m.Name), m)
		}
	})
	served := s.serve(ctx)

	// Down again, in the opposite order.
	_ = s.loop.Post(func() {
		s.stopping = true
		s.manager.Stop()
		s.loop.After(s.cfg.ProcessManager.StopTimeout, func() {
			s.manager.Keeper().KillAll()
			s.loop.After(lastWait, s.leave)
		})
	})
	<-s.loop.Ended()
	cancel()
	return errors.Join(served, s.leaving, tasks.Wait())
}

// lastWait is how long a stop waits for the end of what was killed.
const lastWait = 5 * time.Second

// leave ends the loop though something is left that does not end, such as a
// worker that the kernel does not let go, or a binding that no engine confirms
// the end of.
func (s *Supervisor) leave() {
	s.leaving = fmt.Errorf("the stop went on without %s", strings.Join(s.manager.Remaining(), ", "))
}

// serve offers the API and the observers' pages until ctx ends.
func (s *Supervisor) serve(ctx context.Context) error {
	access, err := s.access()
	if err != nil {
		return err
	}
	s.api, err = api.Listen(api.Options{Port: s.cfg.GRPCPort, Socket: filepath.Join(s.cfg.RuntimeDir, "api.sock"),
		Mode: fs.FileMode(s.cfg.API.Mode), Access: access, Watchers: s.cfg.Limits.Watchers, Log: s.log}, core{s.manager, s}, s.hub)
	if err != nil {
		return err
	}
	server := s.api
	s.metrics.Attach(observe.Sources{
		Pools:               s.manager.Pools,
		Limits:              s.limits,
		Bindings:            s.manager.List,
		Features:            s.currentFeatures,
		Segments:            s.segments.Totals,
		DroppedEvents:       s.hub.Dropped,
		DroppedEngineEvents: s.engineDropped.Load,
		DroppedLogLines:     s.droppedLogLines,
		EngineTrouble:       s.manager.EngineTrouble,
	})
	pages, err := observe.Listen(observe.Options{MetricsPort: s.cfg.MetricsPort, HealthPort: s.cfg.HealthPort, Log: s.log}, s.metrics, s.healthy, s.spared)
	if err != nil {
		server.Stop()
		return err
	}
	s.addrs = Addrs{GRPC: server.Addr(), Unix: server.Socket(), Metrics: pages.MetricsAddr(), Health: pages.HealthAddr()}
	close(s.ready)
	tasks, ctx := errgroup.WithContext(ctx) // it ends with either: what nobody can reach, its keeper starts anew
	tasks.Go(server.Serve)
	tasks.Go(pages.Serve)
	<-ctx.Done()
	server.Stop()
	pages.Stop()
	return tasks.Wait()
}

// access says who may call the API.
func (s *Supervisor) access() (api.Access, error) {
	a := api.Access{Owner: uint32(os.Geteuid())}
	name := s.cfg.API.Group
	if name == "" {
		return a, nil
	}
	id := name
	if g, err := user.LookupGroup(name); err == nil {
		id = g.Gid
	}
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return a, fmt.Errorf("api.group: %q is neither a group nor a number", name)
	}
	gid := uint32(n)
	a.Group = &gid
	return a, nil
}

// events takes what happened in any room. It is called on the loop, after what
// it tells of was done.
func (s *Supervisor) events(e event.Event) {
	s.log.LogAttrs(context.Background(), slog.LevelInfo, e.Message, slog.String("event", string(e.Kind)),
		slog.String("pattern", e.Pattern), slog.String("process_id", e.ProcessID), slog.String("worker", e.Worker),
		slog.Int("pid", e.Pid), slog.Uint64("epoch", e.Epoch), slog.Any("facts", e.Facts))
	s.metrics.Count(e)
	s.hub.Publish(e)
}
