package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"time"

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
	spread = 512 * time.Millisecond
)

// measure fills one row of the table: one daemon, one binding, one client, n
// deaths. It ends early, without an error, at the row's time limit.
func (b *bench) measure(ctx context.Context, r row) (err error) {
	b.daemons++
	dir, err := b.dir.Make(strconv.Itoa(b.daemons))
	if err != nil {
		return err
	}
	cfg := daemon.Config{Program: b.understudyd, Dir: dir, Source: r.source, Pattern: daemon.Pattern{
		Name: pattern, Program: b.echo, Config: map[string]string{"ballast_mb": strconv.Itoa(r.mb)},
		Spares: 1, Heir: r.source != bare, StartTimeout: startTimeout}}
	if r.source == bare {
		cfg.Source = "pidfd"
	}
	d, err := daemon.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	id, address, err := d.Launch(ctx, namespace)
	if err != nil {
		return err
	}
	c, err := newClient(ctx, r.client, where{d.Address(), namespace, address})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := d.AwaitSpare(ctx); err != nil {
		return err
	}
	if b.features[r.source] == "" {
		if b.features[r.source], err = d.Features(ctx); err != nil {
			return err
		}
	}
	if err := b.baseline(ctx, r, c, address); err != nil {
		return fmt.Errorf("nobody dies: %w", err)
	}

	f, err := b.newBeside(ctx, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	t := &target{bench: b, row: r, daemon: d, processID: id, address: address, client: c,
		times: b.report.Row(r.labels("understudy")...),
		death: b.steps.Row(r.labels("death")...), route: b.steps.Row(r.labels("route")...), answer: b.steps.Row(r.labels("answer")...)}
	t.times.Floor = b.floors[r.load+floorName(r.client)]
	if f != nil {
		t.times.Floor = f.row
	}
	begun := time.Now()
	for i := range b.n {
		if b.rowLimit > 0 && time.Since(begun) > b.rowLimit {
			b.report.Note("%s: ended after %d of %d deaths, at the row's limit of %v", r, i, b.n, b.rowLimit)
			b.progress.Add(b.work(r)*float64(b.n-i)/float64(b.n), "")
			break
		}
		if err := f.prepare(ctx); err != nil {
			return fmt.Errorf("floor %d: %w", i+1, err)
		}
		if err := t.once(ctx, t.measured); err != nil {
			return fmt.Errorf("death %d: %w", i+1, err)
		}
		if f != nil {
			if err := t.inTurn(ctx, f); err != nil {
				return fmt.Errorf("floor %d: %w", i+1, err)
			}
		}
		b.progress.Add(b.work(r)/float64(b.n), "%d of %d", i+1, b.n)
	}
	return nil
}

// target is the binding whose workers are killed, one after the other.
type target struct {
	*bench
	row                  row
	daemon               *daemon.Daemon
	processID, address   string
	client               outage.Client
	times                *report.Row
	death, route, answer *report.Row // steps: from the kill until each
}

// once has the active worker die by kill, at no particular time, and waits until
// everything is as before.
func (t *target) once(ctx context.Context, kill func(context.Context, *understudyv1.Route, *daemon.Funeral) error) error {
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
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(rand.N(spread)):
	}
	// The client's garbage is collected now, and not while it waits for an
	// answer.
	runtime.GC()
	if err := kill(ctx, before, f); err != nil {
		return err
	}
	if err := f.Await(ctx); err != nil {
		return err
	}
	if err := t.daemon.AwaitSpare(ctx); err != nil {
		return err
	}
	if t.row.death == sigsegv {
		return removeCore(t.daemon.PatternDir, t.row.mb)
	}
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

// inTurn measures the floor where the row's client would have been measured.
// The worker dies after that, seen by nobody.
func (t *target) inTurn(ctx context.Context, floor *beside) error {
	return t.once(ctx, func(ctx context.Context, before *understudyv1.Route, f *daemon.Funeral) error {
		if err := floor.once(ctx); err != nil {
			return err
		}
		if err := f.Kill(t.row.death.signal()); err != nil {
			return err
		}
		if _, err := t.daemon.RouteAfter(ctx, t.processID, before.Epoch); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, longest, outage.ErrLong)
		defer cancel()
		_, first := t.client.Ask(ctx)
		if first == nil {
			return nil
		}
		// It found its connection dead, which happens once.
		if _, err := t.client.Ask(ctx); err != nil {
			return errors.Join(first, err)
		}
		return nil
	})
}

// baseline records, once for each client and load, what its requests take while
// nobody dies, and for a channel also what a new connection takes.
func (b *bench) baseline(ctx context.Context, r row, c outage.Client, address string) error {
	key := r.client + r.load
	if b.baselines[key] {
		return nil
	}
	b.baselines[key] = true
	labels := r.labels("no death")
	labels[1], labels[4], labels[5], labels[6] = "", "", "", ""
	times := b.report.Row(labels...)
	times.Floor = b.floors[r.load+floorName(r.client)]
	for range b.n {
		start := time.Now()
		if _, err := c.Ask(ctx); err != nil {
			times.Failed++
			continue
		}
		times.Record(time.Since(start))
	}
	if r.client == channel {
		return b.cuts(ctx, r, address)
	}
	return nil
}
