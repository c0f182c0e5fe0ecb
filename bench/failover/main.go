// Command failover measures the main promise: a worker is killed, and the time
// from the kill to the first good answer at the same address, as a client sees
// it (package outage says how), with the real understudyd and the echo pattern.
//
// A row of its table is a worker's size, a client, the machine's load, a way to
// die and a source of the news; beside them stand the floor, the least that
// this machine can do (package floor; two bare gRPC servers), and what a request
// takes while nobody dies. It writes the table, JSON with the whole
// distributions, and a picture, and a second table of the steps: when after the
// kill the kernel saw the death, the route was published, and the client had
// its answer.
//
// Run it from the module's folder: it builds what it measures.
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
	"understudy/bench/internal/daemon"
	"understudy/bench/internal/floor"
	"understudy/bench/internal/keepmemory"
	"understudy/bench/internal/outage"
	"understudy/bench/internal/progress"
	"understudy/bench/internal/report"
	"understudy/bench/internal/role"
	"understudy/bench/internal/scratch"
	"understudy/internal/hypervisor"
)

func main() {
	role.Play(roles)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		stop()
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	ballast, core           sizes
	clients, loads, sources []string
	moments                 []string
	n                       int
	rowLimit                time.Duration
	beside, keepMemory      bool
	out                     string
	understudyd, echo       string
}

func (o *options) parse(args []string, stderr io.Writer) error {
	*o = options{ballast: sizes{8, 64, 256, 1024, 4096}, core: sizes{512},
		clients: []string{firstByte, fresh, channel, routed}, loads: loads, sources: []string{"auto"}, moments: moments[:1]}
	f := flag.NewFlagSet("failover", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Var(&o.ballast, "ballast", "sizes of the killed worker in MiB of resident memory; what memory does not allow is left out")
	f.Var(&o.core, "core", "sizes of the worker that dies of SIGSEGV and dumps core")
	f.Var(list{&o.clients, clients}, "client", "clients: byte, fresh, channel, route, route+retry")
	f.Var(list{&o.loads, loads}, "load", "loads: idle, busy")
	f.Var(list{&o.moments, moments}, "kill", "moments of the kill: during a request, from another thread; between two, by the client itself, as with the floor")
	f.Var(list{&o.sources, sources}, "source", "sources of the news of a death: auto, kernel, connector, pidfd, or bare (the pidfd, and workers without an heir)")
	f.IntVar(&o.n, "n", 200, "deaths in a row of the table")
	f.DurationVar(&o.rowLimit, "row-limit", 20*time.Minute, "end a row after this time with the deaths it has; 0 is never")
	f.BoolVar(&o.beside, "beside", false, "measure the client's floor also in turn with each row's deaths, under the same circumstances (twice as many deaths); the ratio is to that one then")
	f.BoolVar(&o.keepMemory, "keep-memory", false, "stop page reporting meanwhile: on a virtual machine the kernel may give free memory back to the hypervisor, and memory in use can be unmapped with it (takes root)")
	f.StringVar(&o.out, "out", "bench/out", "directory of the results")
	f.StringVar(&o.understudyd, "understudyd", "", "the daemon's program; by default it is built")
	f.StringVar(&o.echo, "echo", "", "the pattern's program; by default it is built")
	quick := f.Bool("quick", false, "a few deaths of a small worker, to see that it works")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *quick {
		o.n, o.ballast = 3, sizes{8}
		if len(o.core) > 0 {
			o.core = sizes{16}
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
	dir       *scratch.Dir
	progress  *progress.Line
	report    *report.Report
	steps     *report.Report
	floors    map[string]*report.Row // by load and kind
	baselines map[string]bool        // by client and load
	features  map[string]string      // by source
	daemons   int
}

func run(ctx context.Context, args []string, stdout, stderr *os.File) (err error) {
	b := &bench{floors: map[string]*report.Row{}, baselines: map[string]bool{}, features: map[string]string{}}
	if err := b.parse(args, stderr); err != nil {
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
	if err := b.build(ctx); err != nil {
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
	return errors.Join(measured, b.write(stdout))
}

func (b *bench) build(ctx context.Context) (err error) {
	for program, pkg := range map[*string]string{&b.understudyd: daemon.Program, &b.echo: daemon.Echo} {
		if *program == "" {
			if *program, err = daemon.Build(ctx, b.dir.Join(), pkg); err != nil {
				return err
			}
		}
	}
	return nil
}

// all measures every row of the plan. A row that fails is noted and does not
// disturb the others; what fails all of them is their joined error.
func (b *bench) all(ctx context.Context, stderr *os.File) error {
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
	cores := ""
	if len(b.core) > 0 {
		cores = allowCores()
	}
	var failed []error
	for _, r := range plan {
		skip, err := r.room()
		if err != nil {
			return err
		}
		if r.death == sigsegv && cores != "" {
			skip = cores
		}
		if skip != "" {
			b.report.Note("%s: left out: %s", r, skip)
			b.progress.Add(b.work(r), "")
			continue
		}
		b.progress.Part("%s", r)
		err = b.underLoad(ctx, r.load, func() error {
			if err := b.measureFloor(ctx, r.load); err != nil {
				return err
			}
			return b.measure(ctx, r)
		})
		if ctx.Err() != nil {
			b.report.Note("interrupted")
			return context.Cause(ctx)
		}
		if err != nil {
			b.progress.Print("%s: failed: %v", r, err)
			b.report.Note("%s: failed: %v", r, err)
			failed = append(failed, errors.New(b.report.Notes[len(b.report.Notes)-1]))
		}
	}
	return errors.Join(failed...)
}

// floorKinds are the floors of bare processes.
var floorKinds = []floor.Kind{floor.Fresh, floor.Held, floor.Ended}

// measureFloor adds n deaths to each floor of bare processes. Before every row
// there are as many: they take a second, the machine has faster and slower
// minutes, and so the floor is of the same as the rows.
func (b *bench) measureFloor(ctx context.Context, load string) error {
	for _, kind := range floorKinds {
		if err := floor.Measure(ctx, kind, b.n, b.floors[load+string(kind)].Record); err != nil {
			return err
		}
	}
	return nil
}

// measureFloors begins the table with the floors.
func (b *bench) measureFloors(ctx context.Context) error {
	for _, load := range b.loads {
		for _, kind := range floorKinds {
			b.floors[load+string(kind)] = b.report.Row("floor", "", string(kind), load, string(sigkill), string(outage.Between), "")
		}
		for _, client := range []string{fresh, channel} {
			b.progress.Part("floor of two gRPC servers, %s, %s", client, load)
			row := b.report.Row("gRPC floor", "", client, load, string(sigkill), string(outage.Between), "")
			row.Floor = b.floors[load+floorName(client)]
			if err := b.underLoad(ctx, load, func() error { return b.measureServers(ctx, client, row) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) measureServers(ctx context.Context, client string, row *report.Row) error {
	s, err := startServers(ctx, b.dir.Join(), client)
	if err != nil {
		return err
	}
	for range b.n {
		if err = s.prepare(ctx); err != nil {
			break
		}
		var took time.Duration
		if took, err = s.once(ctx); err != nil {
			break
		}
		row.Record(took)
	}
	return errors.Join(err, s.close())
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

func (b *bench) write(stdout io.Writer) error {
	signal.Ignore(unix.SIGPIPE) // a reader that has left is an error, and what was changed is put back
	defer signal.Reset(unix.SIGPIPE)
	if err := b.report.WriteTable(stdout); err != nil {
		return err
	}
	fmt.Fprintln(stdout)
	if err := b.steps.WriteTable(stdout); err != nil {
		return err
	}
	files, err := b.report.WriteFiles(b.out, "failover", "client", "load")
	if err != nil {
		return err
	}
	more, err := b.steps.WriteFiles(b.out, "failover-steps", "client", "load")
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout)
	for _, f := range append(files, more...) {
		fmt.Fprintln(stdout, f)
	}
	return nil
}

var roles = role.Roles{floor.Role: floor.Main, busyload.Role: busyload.Main, serversRole: server}
