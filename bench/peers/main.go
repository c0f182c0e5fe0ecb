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
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy/bench/internal/command"
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
	command.Main("peers", run)
}

type options struct {
	command.Output
	sizes command.Sizes
	peers []string
	n     int
}

func (o *options) read(args []string, stderr io.Writer) error {
	var known []string
	for i := range peers {
		known = append(known, peers[i].first())
	}
	o.sizes = command.Sizes{8, 128, 1024}
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Var(&o.sizes, "ballast", "sizes of the killed worker in MiB of resident memory")
	f.Var(command.Words{Chosen: &o.peers, Known: known}, "peer", "peers to measure, by the first word of their names; all by default")
	f.IntVar(&o.n, "n", 50, "deaths in a row of the table")
	quick := f.Bool("quick", false, "a few deaths of a small worker, to see that it works")
	if err := o.Parse(f, args); err != nil {
		return err
	}
	if *quick {
		o.n, o.sizes = 3, command.Sizes{8}
	}
	if f.NArg() > 0 || o.n < 1 {
		return fmt.Errorf("arguments %q are not understood, or -n is not above 0; see --help", f.Args())
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

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	b := &bench{floors: map[string]*report.Row{}}
	if err := b.read(args, stderr); err != nil {
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
	b.report.Source = report.Source(b.tools.understudyd)
	// In the scratch folder no worker outlives it.
	b.worker = b.dir.Join(workerRole)
	if err := copyProgram(b.worker); err != nil {
		return err
	}
	// The client is the instrument: it collects its garbage between deaths.
	debug.SetGCPercent(-1)
	measured := b.all(ctx, stderr)
	b.report.Note("failed: requests that failed; the client asks without a pause, and with a kept connection repeats by itself what found it dead")
	return errors.Join(measured, b.Write(stdout, command.Table{Report: b.report, Name: "peers", Panels: []string{"size", "client"}}))
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
func (b *bench) all(ctx context.Context, stderr io.Writer) error {
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
	rows := command.Rows{Report: b.report, Progress: b.progress}
	for _, p := range here {
		for _, mb := range b.sizes {
			for _, client := range clients {
				name := fmt.Sprintf("%s, %d MB, %s", p.name, mb, client)
				if err := rows.Measure(ctx, name, func() error { return b.measure(ctx, p, mb, client) }); err != nil {
					return err
				}
			}
		}
	}
	return rows.Err()
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
