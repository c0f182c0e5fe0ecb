package pool

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/event"
	"understudy/internal/pace"
	"understudy/internal/poll"
	"understudy/patterns"
	"understudy/sentinel"
)

// controlGrace is how long a worker whose control socket has closed may take
// to be seen dead, before it counts as alive and out of our hands.
const controlGrace = 50 * time.Millisecond

// limitsOf are the limits that a manifest sets.
func limitsOf(m *patterns.Manifest) limits {
	return limits{start: m.StartTimeout, grace: m.GracePeriod, probe: m.Probe.Timeout, interval: m.Probe.Interval, failures: m.Probe.Failures}
}

// start begins a worker's life: fork and exec run beside the loop.
func (k *Keeper) start(p *workerPool) {
	k.nextID++
	w := &Worker{ID: k.nextID, Name: fmt.Sprintf("%s-%d", p.manifest.Name, k.nextID), pool: p, started: time.Now(),
		life: life{limits: limitsOf(p.manifest)}}
	w.log = k.cfg.Log.With("pattern", p.manifest.Name, "worker", w.Name)
	k.workers[w.ID] = w
	p.counts[Starting]++
	p.starts++
	k.running++
	if k.cfg.Leaks != nil {
		k.cfg.Leaks.Expect(p.manifest.Adopt)
	}
	go func() {
		proc, err := spawn(p.manifest, w.Name, uint64(w.ID), k.surroundings())
		k.post(func() { k.spawned(w, proc, err) })
	}()
}

// spawned takes over the process, which is watched from now on.
func (k *Keeper) spawned(w *Worker, proc *process, err error) {
	if k.cfg.Leaks != nil {
		pid := 0
		if err == nil {
			pid = proc.pid
		}
		k.cfg.Leaks.Watch(pid, w.pool.manifest.Adopt)
	}
	if err != nil {
		k.feed(w, input{kind: inUnmade, cause: Cause{Kind: CauseSpawn, Err: err}})
		return
	}
	w.Pid, w.pidfd, w.doom, w.link = proc.pid, proc.pidfd, proc.doom, proc.link
	w.group, w.procs = proc.group, proc.procs
	w.log = w.log.With("pid", w.Pid)
	if proc.badOOM != nil && !k.toldOOM {
		k.toldOOM = true
		w.log.Warn("workers keep the supervisor's OOM score", "wanted", w.pool.manifest.OOMScoreAdj, "error", proc.badOOM)
	}
	k.byPid[w.Pid] = w
	w.output = captureOutput(w.log, &k.droppedLines, proc.stdout, proc.stderr)
	in := input{kind: inRunning}
	if err := k.reaper.Watch(w.Pid, int(w.pidfd.Fd()), func(n sentinel.Notice) {
		if n.Kind == sentinel.Exited { // the sentinel's thread never waits
			time.AfterFunc(pace.Reap, func() { k.post(func() { k.exited(w) }) })
		}
	}); err != nil {
		in.cause = Cause{Kind: CauseSpawn, Err: fmt.Errorf("watch: %w", err)}
		go func() { // nobody else will tell
			_, _ = poll.Wait(int(w.pidfd.Fd()), unix.POLLIN, -1)
			k.post(func() { k.exited(w) })
		}()
	}
	k.feed(w, in)
	if k.stopping {
		k.End(w, 0, true)
	}
}

// begun makes a worker that runs known to the engine, and listens to it.
func (k *Keeper) begun(w *Worker) {
	k.introduce(w)
	k.emit(w, event.WorkerStarted, "process started", nil)
	w.heard = make(chan struct{})
	go func() {
		defer close(w.heard)
		w.link.listen(func(s said) { k.post(func() { k.hear(w, s) }) })
	}()
}

// introduce makes a worker known to the engine, and its heir where it has told
// of one.
func (k *Keeper) introduce(w *Worker) {
	procs := -1
	if w.procs != nil {
		procs = int(w.procs.Fd())
	}
	k.command("watch", w, k.engine.Watch(w.ID, w.Pid, int(w.pidfd.Fd()), int(w.link.socket().Fd()), procs))
	if w.heir != 0 {
		k.introduceHeir(w)
	}
}

// hear takes what a worker says.
func (k *Keeper) hear(w *Worker, s said) {
	switch s.kind {
	case saidFatal:
		if w.gaveUp { // and says so again and again
			k.droppedLines.Add(1)
			return
		}
		w.gaveUp = true
		w.log.Warn("worker gave up", "error", s.err)
		k.feed(w, input{kind: inFatal, cause: Cause{Kind: CauseFatal, Err: s.err}})
		return
	case saidFlood:
		k.feed(w, input{kind: inFail, cause: Cause{Kind: CauseFlood, Err: s.err}})
		return
	case saidLost:
		k.feed(w, input{kind: inLost, closed: s.err == nil, cause: Cause{Kind: CauseProtocol, Err: s.err}})
		return
	}
	if !w.alive() {
		return
	}
	switch s.kind {
	case saidReady:
		if s.err != nil {
			k.feed(w, input{kind: inFail, cause: Cause{Kind: CauseProtocol, Err: s.err}})
			return
		}
		k.feed(w, input{kind: inReady, heir: s.heir})
	case saidAnswer:
		if s.processID != "" && w.life.state == Warming {
			k.hooks.Serving(w, s.processID, s.epoch)
		}
		k.feed(w, input{kind: inAnswer, id: s.id, cause: Cause{Kind: CauseUnhealthy, Err: s.err}})
	case saidServing:
		k.hooks.Serving(w, s.processID, s.epoch)
	case saidDraining:
		if w.life.state == Active {
			k.hooks.Draining(w, s.err.Error())
		}
	case saidDrained:
		if w.life.state == Draining {
			k.told(w, w.link.retire())
		}
	}
}
