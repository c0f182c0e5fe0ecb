// Command detect measures how long after a death begins the sentinel knows of
// it: by source and step of the death, by the size of the process, by the way
// it dies, with the machine idle and with every core busy.
//
// All sources watch the same deaths, from threads of their own. The time
// begins right before the kill; where a process ends itself, it notes the time
// itself, as the last thing it does. Beside the rows stands the floor: a bare
// poll of a bare process's pidfd.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"understudy/bench/internal/busy"
	"understudy/bench/internal/command"
	"understudy/bench/internal/core"
	"understudy/bench/internal/progress"
	"understudy/bench/internal/report"
	"understudy/bench/internal/role"
	"understudy/bench/internal/scratch"
	"understudy/sentinel"
)

var roles = role.Roles{workerRole: worker, floorRole: floor, busy.Role: busy.Main}

func main() {
	role.Play(roles)
	command.Main("detect", run)
}

// options are the flags.
type options struct {
	command.Output
	sizes    command.Sizes
	deaths   []string
	loads    []string
	workers  []string
	n        int
	rowLimit time.Duration
	realtime bool
}

func (o *options) read(args []string, stderr io.Writer) error {
	*o = options{sizes: command.Sizes{0, 64, 256, 1024, 4096}, deaths: deathNames(), loads: loads, workers: workers}
	f := flag.NewFlagSet("detect", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Var(&o.sizes, "size", "sizes of the process in MiB of resident memory; what memory does not allow is left out")
	f.Var(command.Words{Chosen: &o.deaths, Known: deathNames()}, "death", "ways to die")
	f.Var(command.Words{Chosen: &o.loads, Known: loads}, "load", "loads: idle, busy")
	f.Var(command.Words{Chosen: &o.workers, Known: workers}, "worker", "bare, or with an heir that shares its memory: bare, heir")
	f.IntVar(&o.n, "n", 200, "deaths in a row of the table")
	f.DurationVar(&o.rowLimit, "row-limit", 20*time.Minute, "end a row after this time with the deaths it has; 0 is never")
	f.BoolVar(&o.realtime, "realtime", true, "give the sentinels real-time priority where it is permitted")
	quick := f.Bool("quick", false, "a few deaths of small processes, to see that it works")
	if err := o.Parse(f, args); err != nil {
		return err
	}
	if *quick {
		o.n, o.sizes = 2, command.Sizes{0, 16}
	}
	if f.NArg() > 0 || o.n < 1 {
		return fmt.Errorf("arguments %q are not understood, or -n is not above 0; see --help", f.Args())
	}
	return nil
}

// bench is one run.
type bench struct {
	options
	dir      *scratch.Dir
	progress *progress.Line
	report   *report.Report
	watchers []*watcher
	floors   map[string]*report.Row // by load
	cgroup   *memoryGroup           // nil where none can be made
	stamp    *stamp
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	b := &bench{floors: map[string]*report.Row{}}
	if err := b.read(args, stderr); err != nil {
		return err
	}
	b.report = report.New("From the death to the sentinel's notice", "source", "notice", "size", "death", "load", "worker")
	if b.dir, err = scratch.New(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.dir.Close()) }()
	if b.stamp, err = newStamp(); err != nil {
		return err
	}
	defer b.stamp.close()
	debug.SetGCPercent(-1) // garbage is collected between deaths
	if err := b.startWatchers(); err != nil {
		return err
	}
	defer b.stopWatchers()
	measured := b.all(ctx, stderr)
	return errors.Join(measured, b.Write(stdout, command.Table{Report: b.report, Name: "detect", Panels: []string{"death", "load", "worker"}}))
}

// all measures every row of the plan. A row that fails is noted and does not
// disturb the others.
func (b *bench) all(ctx context.Context, stderr io.Writer) error {
	noCores := core.Allow()
	var why string
	if b.cgroup, why = newMemoryGroup(); b.cgroup != nil {
		defer b.cgroup.close()
	}
	plan := b.plan()
	work := 0.0
	for _, r := range plan {
		work += r.work() * float64(b.n)
	}
	b.progress = progress.New(stderr, work)
	defer b.progress.Clear()
	for _, load := range b.loads {
		b.progress.Part("floor, %s", load)
		row := b.report.Row("floor", sentinel.Exited.String(), "", string(sigkill), load, "")
		b.floors[load] = row
		if err := busy.Under(ctx, load, func() error { return measureFloor(ctx, b.n, b.realtime, row.Record) }); err != nil {
			return err
		}
	}
	rows := command.Rows{Report: b.report, Progress: b.progress}
	for _, r := range plan {
		skip, err := r.room()
		switch {
		case err != nil:
			return err
		case r.death == sigsegv && noCores != "":
			skip = noCores
		case r.death == oom && b.cgroup == nil:
			skip = why
		}
		if skip != "" {
			rows.Skip(r, float64(b.n)*r.work(), skip)
			continue
		}
		err = rows.Measure(ctx, r, func() error { return busy.Under(ctx, r.load, func() error { return b.measure(ctx, r) }) })
		if err != nil {
			return err
		}
	}
	return rows.Err()
}
