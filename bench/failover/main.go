// Command failover measures the main promise: a worker is killed, and the time
// from the kill to the first good answer at the same address, as a client sees
// it (package outage says how), with the real understudyd and the echo pattern.
//
// A row of its table is a worker's size, a client, the machine's load, a way to
// die and a source of the news; beside them stand the floor, the least that
// this machine can do (package floor; two bare gRPC servers), and what the same
// client takes while nobody dies, measured in turn with the deaths: the
// difference is what the failover adds. With -against two builds are measured in
// turn. It writes the table, JSON with the whole distributions, and a picture,
// and a second table of the steps: when after the kill the kernel saw the death,
// the route was published, and the client had its answer.
//
// Run it from the module's folder: it builds what it measures.
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
	"understudy/bench/internal/floor"
	"understudy/bench/internal/keepmemory"
	"understudy/bench/internal/progress"
	"understudy/bench/internal/report"
	"understudy/bench/internal/role"
	"understudy/bench/internal/scratch"
	"understudy/internal/hypervisor"
)

var roles = role.Roles{floor.Role: floor.Main, busy.Role: busy.Main, serversRole: server}

func main() {
	role.Play(roles)
	command.Main("failover", run)
}

// options are the flags.
type options struct {
	command.Output
	ballast, core           command.Sizes
	clients, loads, sources []string
	moments                 []string
	n                       int
	rowLimit, spread        time.Duration
	keepMemory              bool
	understudyd, echo       string
	against                 string
}

func (o *options) read(args []string, stderr io.Writer) error {
	*o = options{ballast: command.Sizes{8, 64, 256, 1024, 4096}, core: command.Sizes{512},
		clients: []string{firstByte, fresh, channel, routed}, loads: loads, sources: []string{"auto"}, moments: moments[1:], spread: spread}
	f := flag.NewFlagSet("failover", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Var(&o.ballast, "ballast", "sizes of the killed worker in MiB of resident memory; what memory does not allow is left out")
	f.Var(&o.core, "core", "sizes of the worker that dies of SIGSEGV and dumps core")
	f.Var(command.Words{Chosen: &o.clients, Known: clients}, "client", "clients: byte, fresh, channel, route, route+retry")
	f.Var(command.Words{Chosen: &o.loads, Known: loads}, "load", "loads: idle, busy")
	f.Var(command.Words{Chosen: &o.moments, Known: moments}, "kill", "moments of the kill: during a request, from another thread; between two, by the client itself, as with the floor")
	f.Var(command.Words{Chosen: &o.sources, Known: sources}, "source", "sources of the news of a death: auto, kernel, connector, pidfd, or bare (the pidfd, and workers without an heir)")
	f.IntVar(&o.n, "n", 200, "deaths in a row of the table")
	f.DurationVar(&o.rowLimit, "row-limit", 20*time.Minute, "end a row after this time with the deaths it has; 0 is never")
	f.BoolVar(&o.keepMemory, "keep-memory", false, "stop page reporting meanwhile: on a virtual machine the kernel may give free memory back to the hypervisor, and memory in use can be unmapped with it (takes root)")
	f.StringVar(&o.against, "against", "", "compare with another build, its deaths in turn with this one's: the folder of a built tree, or UNDERSTUDYD,ECHO; the ratios are to it then, not to a floor")
	f.StringVar(&o.understudyd, "understudyd", "", "the daemon's program; by default it is built")
	f.StringVar(&o.echo, "echo", "", "the pattern's program; by default it is built")
	quick := f.Bool("quick", false, "a few deaths of a small worker, to see that it works")
	if err := o.Parse(f, args); err != nil {
		return err
	}
	if *quick {
		o.n, o.ballast, o.spread = 2, command.Sizes{8}, quickSpread
		if len(o.core) > 0 {
			o.core = command.Sizes{16}
		}
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
	steps    *report.Report
	builds   []build
	floors   map[string]*report.Row // by load and kind
	features map[string]string      // by source
	daemons  int
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	b := &bench{floors: map[string]*report.Row{}, features: map[string]string{}}
	if err := b.read(args, stderr); err != nil {
		return err
	}
	columns := []string{"what", "size", "client", "load", "death", "kill", "source"}
	b.report = report.New("From the kill to the first good answer", columns...)
	b.steps = report.New("From the kill until the kernel saw the death, the route was published, the client had its answer", columns...)
	if b.keepMemory {
		stop, why := keepmemory.Start()
		if why != nil {
			return why
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	if hypervisor.PageReporting() {
		b.report.Note("free memory was given back to the hypervisor (page reporting), which can make failovers of large workers late: see -keep-memory")
	}
	if b.dir, err = scratch.New(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.dir.Close()) }()
	if err := b.makeBuilds(ctx); err != nil {
		return err
	}
	// The client is the instrument: it collects its garbage between deaths.
	debug.SetGCPercent(-1)
	measured := b.all(ctx, stderr)
	for _, source := range b.sources {
		if f := b.features[source]; f != "" {
			b.report.Note("source %s: %s", source, f)
		}
	}
	b.report.Note("failed: requests that failed, of a client that asks without a pause and does not retry by itself")
	panels := []string{"client", "load"}
	return errors.Join(measured, b.Write(stdout, command.Table{Report: b.report, Name: "failover", Panels: panels},
		command.Table{Report: b.steps, Name: "failover-steps", Panels: panels}))
}

// all measures every row of the plan. A row that fails is noted and does not
// disturb the others; what fails all of them is their joined error.
func (b *bench) all(ctx context.Context, stderr io.Writer) error {
	plan := b.plan()
	work := 0.0
	for _, r := range plan {
		work += b.work(r)
	}
	b.progress = progress.New(stderr, work)
	defer b.progress.Clear()
	if err := b.measureFloors(ctx); err != nil {
		return err
	}
	noCores := ""
	if len(b.core) > 0 {
		noCores = core.Allow()
	}
	rows := command.Rows{Report: b.report, Progress: b.progress}
	for _, r := range plan {
		skip, err := r.room()
		if err != nil {
			return err
		}
		if r.death == sigsegv && noCores != "" {
			skip = noCores
		}
		if skip != "" {
			rows.Skip(r, b.work(r), skip)
			continue
		}
		err = rows.Measure(ctx, r, func() error {
			return busy.Under(ctx, r.load, func() error {
				if err := b.measureFloor(ctx, r.load); err != nil {
					return err
				}
				return b.measure(ctx, r)
			})
		})
		if err != nil {
			return err
		}
	}
	return rows.Err()
}
