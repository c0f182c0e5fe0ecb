package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"time"

	"understudy/bench/internal/core"
	"understudy/bench/internal/daemon"
	"understudy/bench/internal/outage"
	"understudy/bench/internal/report"
	understudyv1 "understudy/proto/understudy/v1"
)

const (
	// pattern is the worker's name, namespace the tenant's.
	pattern   = "echo"
	namespace = "bench"
	// longest is how long a client waits for a good answer.
	longest = 30 * time.Second
	// startTimeout is for a worker of several GB beside busy cores.
	startTimeout = 2 * time.Minute
	// spread is how long a death waits at most, evenly spread, when everything
	// is ready: deaths of one size come in a rhythm, and the kernel has its own
	// (its memory monitor, kdamond, takes a core for 2 to 3 ms every 0.5 s on the
	// machine that the published figures come from).
	spread      = 512 * time.Millisecond
	quickSpread = 20 * time.Millisecond
)

// measure fills one row of the table: n deaths, and before each of them the same
// client when nobody dies. With two builds these come in turn, and each pair of
// turns in the other order than the one before (A B, B A, A B, ...), so that a change
// of the machine meets both. It ends early, without an error, at the row's time
// limit.
func (b *bench) measure(ctx context.Context, r row) (err error) {
	var targets []*target
	for _, of := range b.builds {
		t, failed := b.start(ctx, r, of)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, t.client.Close(), t.daemon.Stop()) }()
		targets = append(targets, t)
	}
	for _, t := range targets {
		t.addRows()
	}
	if len(targets) == 2 {
		targets[0].compareWith(targets[1])
	}
	begun := time.Now()
	for i := range b.n {
		if b.rowLimit > 0 && time.Since(begun) > b.rowLimit {
			b.report.Note("%s: ended after %d of %d deaths, at the row's limit of %v", r, i, b.n, b.rowLimit)
			b.progress.Add(b.work(r)*float64(b.n-i)/float64(b.n), "")
			break
		}
		for _, t := range targets {
			if err := t.quiet.once(ctx, t); err != nil {
				return fmt.Errorf("nobody dies, %d: %w", i+1, err)
			}
			if err := t.once(ctx); err != nil {
				return fmt.Errorf("death %d: %w", i+1, err)
			}
		}
		slices.Reverse(targets)
		b.progress.Add(b.work(r)/float64(b.n), "%d of %d", i+1, b.n)
	}
	return nil
}

// start runs a daemon of that build with one binding, its standby, and a client.
func (b *bench) start(ctx context.Context, r row, of build) (t *target, err error) {
	b.daemons++
	dir, err := b.dir.Make(strconv.Itoa(b.daemons))
	if err != nil {
		return nil, err
	}
	cfg := daemon.Config{Program: of.understudyd, Dir: dir, Source: r.source, Pattern: daemon.Pattern{
		Name: pattern, Program: of.echo, Config: map[string]string{"ballast_mb": strconv.Itoa(r.mb)},
		Spares: 1, Heir: r.source != bare, StartTimeout: startTimeout}}
	if r.source == bare {
		cfg.Source = "pidfd"
	}
	t = &target{bench: b, row: r, build: of}
	begun := time.Now()
	if t.daemon, err = daemon.Start(ctx, cfg); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.daemon.Stop())
		}
	}()
	if t.processID, t.address, err = t.daemon.Launch(ctx, namespace); err != nil {
		return nil, err
	}
	if err := t.live(ctx, begun); err != nil {
		return nil, err
	}
	if b.features[r.source] == "" {
		if b.features[r.source], err = t.daemon.Features(ctx); err != nil {
			return nil, err
		}
	}
	t.client, err = newClient(ctx, r.client, where{t.daemon.Address(), namespace, t.address})
	return t, err
}

// addRows adds what is measured of the target to the reports.
func (t *target) addRows() {
	t.quiet = t.newQuiet(t.row, t.build)
	t.times = t.report.Row(t.row.labels(t.build.name("understudy"))...)
	t.times.Base, t.times.Floor = t.quiet.base(), t.floors[t.row.load+floorName(t.row.client)]
	t.death = t.steps.Row(t.row.labels(t.build.name("death"))...)
	t.route = t.steps.Row(t.row.labels(t.build.name("route"))...)
	t.answer = t.steps.Row(t.row.labels(t.build.name("answer"))...)
}

// compareWith has the ratios be to another build's rows.
func (t *target) compareWith(other *target) {
	t.times.Floor, t.quiet.request.Floor = other.times, other.quiet.request
	if t.quiet.cut != nil {
		t.quiet.cut.Floor = other.quiet.cut
	}
}

// target is the binding whose workers are killed, one after the other.
type target struct {
	*bench
	row                  row
	build                build
	daemon               *daemon.Daemon
	processID, address   string
	client               outage.Client
	quiet                quiet
	usual                time.Duration // see live
	times                *report.Row
	death, route, answer *report.Row // steps: from the kill until each
}

// once has the active worker die, at no particular time, and waits until
// everything is as before.
func (t *target) once(ctx context.Context) error {
	before, err := t.daemon.RouteAfter(ctx, t.processID, 0)
	if err != nil {
		return err
	}
	f, err := t.daemon.Attend(int(before.Pid))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := t.row.death.prepare(ctx, t.address); err != nil {
		return err
	}
	if err := t.rest(ctx); err != nil {
		return err
	}
	begun := time.Now()
	if err := t.measured(ctx, before, f); err != nil {
		return err
	}
	if err := f.Await(ctx); err != nil {
		return err
	}
	if err := t.live(ctx, begun); err != nil {
		return err
	}
	if t.row.death == sigsegv {
		return core.Remove(t.daemon.PatternDir, t.row.mb)
	}
	return nil
}

// live waits for the next standby, and until the active worker has lived for longer
// than a start takes on the average: else it counts as one of a crash loop, which
// the deaths of a benchmark are not to be. begun is when it became active.
func (t *target) live(ctx context.Context, begun time.Time) error {
	if err := t.daemon.AwaitSpare(ctx); err != nil {
		return err
	}
	if took := time.Since(begun); t.usual == 0 {
		t.usual = took
	} else {
		t.usual += (took - t.usual) / 4 // as the pool does; it starts later and ends sooner
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Until(begun.Add(t.usual * 5 / 4))):
		return nil
	}
}

// rest waits for a while. The client's garbage is collected at its end, and not
// while it waits for an answer.
func (b *bench) rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(rand.N(b.spread)):
	}
	runtime.GC()
	return nil
}

// measured is a death as the row's client sees it.
func (t *target) measured(ctx context.Context, before *understudyv1.Route, f *daemon.Funeral) error {
	o, err := outage.Measure(ctx, t.client, t.row.moment, longest, func(pid int) error {
		if pid != int(before.Pid) {
			return fmt.Errorf("the answer comes from it, but the route says %d", before.Pid)
		}
		return f.Kill(t.row.death.signal())
	})
	if err != nil {
		return err
	}
	t.times.Record(o.Gap())
	t.times.Failed += int64(o.Failed)
	after, err := t.daemon.RouteAfter(ctx, t.processID, before.Epoch)
	if err != nil {
		return err
	}
	t.answer.Record(o.Gap())
	t.death.Record(time.Duration(after.DeathMonotonicNs - o.Killed))
	t.route.Record(time.Duration(after.PublishedMonotonicNs - o.Killed))
	return nil
}
