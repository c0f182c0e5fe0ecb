// Command peers does with other supervisors and proxies what bench/failover
// does with understudyd: the same worker, an HTTP server at a unix socket, is
// killed, and a client measures the time to the first good answer of another
// process (package outage says how). It uses what is installed, and says what
// is missing.
//
// What differs between them: HAProxy and nginx have two warm workers, of which
// the second is a backup, and all requests go through them; s6, supervisor and
// systemd start the worker again, cold, and requests meanwhile fail; Understudy
// has a warm standby, and requests go to the worker itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy/bench/internal/daemon"
	"understudy/bench/internal/floor"
	"understudy/bench/internal/outage"
	"understudy/bench/internal/progress"
	"understudy/bench/internal/report"
	"understudy/bench/internal/role"
	"understudy/bench/internal/scratch"
)

// longest is how long a client waits for a good answer, and for everything to
// be as before.
const longest = time.Minute

var roles = role.Roles{floor.Role: floor.Main, workerRole: runWorker}

func main() {
	role.Play(roles)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		stop()
		os.Exit(1)
	}
}

type options struct {
	sizes []int
	peers []string
	n     int
	out   string
	file  string // of -report
}

func (o *options) parse(args []string, stderr io.Writer) error {
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.SetOutput(stderr)
	ballast := f.String("ballast", "8,128,1024", "sizes of the killed worker in MiB of resident memory")
	names := f.String("peer", "", "peers to measure, by the first word of their names; all by default")
	f.IntVar(&o.n, "n", 50, "deaths in a row of the table")
	f.StringVar(&o.out, "out", "bench/out", "directory of the results")
	f.StringVar(&o.file, "report", "", "a Markdown file (docs/BENCHMARKS.md) whose section of this command is written anew")
	quick := f.Bool("quick", false, "a few deaths of a small worker, to see that it works")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *quick {
		o.n, *ballast = 3, "8"
	}
	if f.NArg() > 0 || o.n < 1 {
		return fmt.Errorf("arguments %q are not understood, or -n is not above 0; see --help", f.Args())
	}
	for _, w := range strings.Split(*ballast, ",") {
		mb, err := strconv.ParseUint(w, 10, 20)
		if err != nil {
			return fmt.Errorf("--ballast: %q is no size in MiB", w)
		}
		o.sizes = append(o.sizes, int(mb))
	}
	for _, w := range strings.FieldsFunc(*names, func(r rune) bool { return r == ',' }) {
		if !slices.ContainsFunc(peers, func(p peer) bool { return p.first() == w }) {
			return fmt.Errorf("--peer: %q is not known", w)
		}
		o.peers = append(o.peers, w)
	}
	return nil
}

// first is the first word of the name.
func (p *peer) first() string {
	first, _, _ := strings.Cut(p.name, ",")
	return first
}

// bench is one run.
type bench struct {
	options
	dir      *scratch.Dir
	tools    tools
	worker   string
	report   *report.Report
	progress *progress.Line
	floors   map[string]*report.Row // by client
	places   int
}

func run(ctx context.Context, args []string, stdout, stderr *os.File) (err error) {
	b := &bench{floors: map[string]*report.Row{}}
	if err := b.parse(args, stderr); err != nil {
		return err
	}
	b.report = report.New("From the kill to the first good answer, an HTTP worker", "what", "size", "client")
	if b.dir, err = scratch.New(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.dir.Close()) }()
	if b.tools.understudyd, err = daemon.Build(ctx, b.dir.Join(), daemon.Program); err != nil {
		return err
	}
	// In the scratch folder no worker outlives it.
	b.worker = b.dir.Join(workerRole)
	if err := copyProgram(b.worker); err != nil {
		return err
	}
	// The client is the instrument: it collects its garbage between deaths.
	debug.SetGCPercent(-1)
	measured := b.all(ctx, stderr)
	b.report.Note("failed: requests that failed; the client asks without a pause, and with a kept connection repeats by itself what found it dead")
	if err := b.report.WriteTable(stdout); err != nil {
		return err
	}
	files, err := b.report.WriteFiles(b.out, "peers", "size", "client")
	for _, f := range files {
		fmt.Fprintln(stdout, f)
	}
	if b.file != "" && err == nil {
		b.report.Source = report.Source(b.tools.understudyd)
		err = b.report.WriteSection(b.file, report.Command("peers", args))
	}
	return errors.Join(measured, err)
}

// copyProgram copies this binary.
func copyProgram(to string) (err error) {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, from)
	return err
}

// chosen are the peers that can be measured here; what is missing is noted.
func (b *bench) chosen() []*peer {
	var here []*peer
	for i := range peers {
		p := &peers[i]
		if len(b.peers) > 0 && !slices.Contains(b.peers, p.first()) {
			continue
		}
		if why := p.missing(); why != "" {
			b.report.Note("%s: missing: %s", p.name, why)
			continue
		}
		here = append(here, p)
	}
	return here
}

// all measures every peer that is here. One that fails is noted and does not
// disturb the others.
func (b *bench) all(ctx context.Context, stderr *os.File) error {
	here := b.chosen()
	work := 0.0
	for _, p := range here {
		for _, mb := range b.sizes {
			work += p.work(mb) * float64(b.n*len(clients))
		}
	}
	b.progress = progress.New(stderr, work)
	defer b.progress.Clear()
	for _, n := range b.report.Notes {
		b.progress.Print("%s", n)
	}
	for i, kind := range []floor.Kind{floor.Fresh, floor.Held} {
		row := b.report.Row("floor", "", string(kind))
		b.floors[clients[i]] = row
		if err := floor.Measure(ctx, kind, b.n, row.Record); err != nil {
			return err
		}
	}
	var failed []error
	for _, p := range here {
		for _, mb := range b.sizes {
			for _, client := range clients {
				name := fmt.Sprintf("%s, %d MB, %s", p.name, mb, client)
				b.progress.Part("%s", name)
				err := b.measure(ctx, p, mb, client)
				if ctx.Err() != nil {
					b.report.Note("interrupted")
					return context.Cause(ctx)
				}
				if err != nil {
					err = fmt.Errorf("%s: failed: %w", name, err)
					b.report.Note("%v", err)
					b.progress.Print("%v", err)
					failed = append(failed, errors.New(b.report.Notes[len(b.report.Notes)-1]))
				}
			}
		}
	}
	return errors.Join(failed...)
}

// measure fills one row.
func (b *bench) measure(ctx context.Context, p *peer, mb int, kind string) (err error) {
	b.places++
	dir, err := b.dir.Make(strconv.Itoa(b.places))
	if err != nil {
		return err
	}
	at := place{dir: dir, socket: filepath.Join(dir, "s"), worker: b.worker, mb: mb, tools: b.tools}
	i, err := p.start(ctx, at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.stop()) }()
	c := newClient(at.socket, kind)
	defer c.Close()
	row := b.report.Row(p.name, fmt.Sprintf("%d MB", mb), kind)
	row.Floor = b.floors[kind]
	for n := range b.n {
		if err := b.once(ctx, i, c, row); err != nil {
			return fmt.Errorf("death %d: %w", n+1, err)
		}
		b.progress.Add(p.work(mb), "%d of %d", n+1, b.n)
	}
	return nil
}

// once measures one death and waits until everything is as before.
func (b *bench) once(ctx context.Context, i instance, c *client, row *report.Row) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*longest, fmt.Errorf("nothing for %v", 3*longest))
	defer cancel()
	victim := 0
	if err := answers(ctx, c, func(pid int) bool { victim = pid; return true }); err != nil {
		return err
	}
	restored, err := i.bury(ctx, victim)
	if err != nil {
		return err
	}
	runtime.GC()
	o, err := outage.Measure(ctx, c, outage.During, longest, func(pid int) error {
		if pid != victim {
			return fmt.Errorf("a moment ago the answer came from %d", victim)
		}
		return unix.Kill(pid, unix.SIGKILL)
	})
	if err != nil {
		return err
	}
	row.Record(o.Gap())
	row.Failed += int64(o.Failed)
	return restored(ctx, c)
}
