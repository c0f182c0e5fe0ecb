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
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	busyload "understudy/bench/internal/busy"
	"understudy/bench/internal/progress"
	"understudy/bench/internal/report"
	"understudy/bench/internal/role"
	"understudy/bench/internal/scratch"
	"understudy/sentinel"
)

var roles = role.Roles{workerRole: worker, floorRole: floor, busyload.Role: busyload.Main}

func main() {
	role.Play(roles)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "detect:", err)
		stop()
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	sizes    []int
	deaths   []string
	loads    []string
	workers  []string
	n        int
	rowLimit time.Duration
	realtime bool
	out      string
	file     string // of -report
}

func (o *options) parse(args []string, stderr io.Writer) error {
	*o = options{sizes: []int{0, 64, 256, 1024, 4096}, deaths: deathNames(), loads: loads, workers: workers}
	f := flag.NewFlagSet("detect", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Func("size", "sizes of the process in MiB of resident memory (default 0,64,256,1024,4096); what memory does not allow is left out", o.setSizes)
	f.Func("death", "ways to die (default all of "+fmt.Sprint(deathNames())+")", choose(&o.deaths, deathNames()))
	f.Func("load", "loads: idle, busy (default both)", choose(&o.loads, loads))
	f.Func("worker", "bare, or with an heir that shares its memory: bare, heir (default both)", choose(&o.workers, workers))
	f.IntVar(&o.n, "n", 200, "deaths in a row of the table")
	f.DurationVar(&o.rowLimit, "row-limit", 20*time.Minute, "end a row after this time with the deaths it has; 0 is never")
	f.BoolVar(&o.realtime, "realtime", true, "give the sentinels real-time priority where it is permitted")
	f.StringVar(&o.out, "out", "bench/out", "directory of the results")
	f.StringVar(&o.file, "report", "", "a Markdown file (docs/BENCHMARKS.md) whose section of this command is written anew")
	quick := f.Bool("quick", false, "a few deaths of small processes, to see that it works")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *quick {
		o.n, o.sizes = 2, []int{0, 16}
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

func run(ctx context.Context, args []string, stdout, stderr *os.File) (err error) {
	b := &bench{floors: map[string]*report.Row{}}
	if err := b.parse(args, stderr); err != nil {
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
	return errors.Join(measured, b.write(stdout, args))
}

// all measures every row of the plan. A row that fails is noted and does not
// disturb the others.
func (b *bench) all(ctx context.Context, stderr *os.File) error {
	cores := allowCores()
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
		if err := b.underLoad(ctx, load, func() error { return measureFloor(ctx, b.n, b.realtime, row.Record) }); err != nil {
			return err
		}
	}
	var failed []error
	for _, r := range plan {
		skip, err := r.room()
		switch {
		case err != nil:
			return err
		case r.death == sigsegv && cores != "":
			skip = cores
		case r.death == oom && b.cgroup == nil:
			skip = why
		}
		if skip != "" {
			b.report.Note("%s: left out: %s", r, skip)
			b.progress.Add(float64(b.n)*r.work(), "")
			continue
		}
		b.progress.Part("%s", r)
		err = b.underLoad(ctx, r.load, func() error { return b.measure(ctx, r) })
		if ctx.Err() != nil {
			b.report.Note("interrupted")
			return context.Cause(ctx)
		}
		if err != nil {
			b.progress.Print("%s: %v", r, err)
			b.report.Note("%s: failed: %v", r, err)
			failed = append(failed, fmt.Errorf("%s: %w", r, err))
		}
	}
	return errors.Join(failed...)
}

// underLoad runs f while every core is busy, if load says so.
func (b *bench) underLoad(ctx context.Context, load string, f func() error) error {
	if load == busy {
		l, err := busyload.Start(ctx, runtime.NumCPU())
		if err != nil {
			return err
		}
		defer l.Stop()
	}
	return f()
}

func (b *bench) write(stdout io.Writer, args []string) error {
	if err := b.report.WriteTable(stdout); err != nil {
		return err
	}
	files, err := b.report.WriteFiles(b.out, "detect", "death", "load", "worker")
	if err != nil {
		return err
	}
	if b.file != "" {
		if err := b.report.WriteSection(b.file, report.Command("detect", args)); err != nil {
			return err
		}
		files = append(files, b.file)
	}
	fmt.Fprintln(stdout)
	for _, f := range files {
		fmt.Fprintln(stdout, f)
	}
	return nil
}
