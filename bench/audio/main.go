// Command audio is the host of the dsp pattern and its proof: it plays a WAV file through the worker in real time,
// block by block with a deadline each, kills the active worker every second in random ways, and counts the blocks that
// were late (dropouts) and the samples that differ from an uninterrupted run of the same chain.
//
// Block n is handed in at n times 5.33 ms and has to be back when its successor is due, and as many blocks later as the
// look-ahead says. Where a take has dropouts under load, it is repeated with the look-ahead that would have had none.
//
// Run it from the module's folder: it builds what it measures. It writes input.wav, output.wav (silence where a block
// was late) and audio.json, and with -picture a picture of a kill with and without a standby.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"understudy/bench/internal/busy"
	"understudy/bench/internal/command"
	"understudy/bench/internal/daemon"
	"understudy/bench/internal/report"
	"understudy/bench/internal/role"
	"understudy/bench/internal/scratch"
	"understudy/bench/internal/standstill"
	"understudy/patterns/dsp/blocks"
	"understudy/patterns/dsp/chain"
	"understudy/patterns/dsp/realtime"
	"understudy/shmregistry/segment"
)

// forPicture is the number of kills in a take that is made for the picture only.
const forPicture = 3

// startTimeout is for a worker of several GB beside busy cores.
const startTimeout = 2 * time.Minute

var roles = role.Roles{busy.Role: busy.Main, standstill.Role: standstill.Main}

func main() {
	role.Play(roles)
	command.Main("audio", run)
}

// options are the flags.
type options struct {
	command.Output
	kills, lookahead, ballast, spares int
	load, wav, picture                string
	understudyd, dsp                  string
	again                             bool
}

func (o *options) read(args []string, stderr io.Writer) error {
	f := flag.NewFlagSet("audio", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.kills, "kills", 60, "kills, one a second")
	f.StringVar(&o.load, "load", busy.Idle, "load: idle, busy (every core computes)")
	f.IntVar(&o.lookahead, "lookahead", 1, "blocks of 5.33 ms that a block may be late")
	f.IntVar(&o.ballast, "ballast", 0, "resident memory of the worker in MiB")
	f.IntVar(&o.spares, "spares", 1, "standbys to keep; 0 makes every kill a cold restart")
	f.BoolVar(&o.again, "again", true, "under load, repeat a take that had dropouts with the look-ahead that it needed")
	f.StringVar(&o.wav, "wav", "", "file to play, 48 kHz stereo, again and again; by default a test signal is made")
	f.StringVar(&o.understudyd, "understudyd", "", "the daemon's program; by default it is built")
	f.StringVar(&o.dsp, "dsp", "", "the pattern's program; by default it is built")
	f.StringVar(&o.picture, "picture", "", "PNG file to draw a kill into; a short take without a standby is made for it")
	if err := o.Parse(f, args); err != nil {
		return err
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("arguments %q are not understood; see --help", f.Args())
	case o.load != busy.Idle && o.load != busy.Busy:
		return fmt.Errorf("-load %q is none of %s, %s", o.load, busy.Idle, busy.Busy)
	case o.kills < 0 || o.kills > 3600:
		return fmt.Errorf("-kills %d is not from 0 to 3600", o.kills)
	case o.lookahead < 0 || o.lookahead >= blocks.Ring:
		return fmt.Errorf("-lookahead %d is not from 0 to %d", o.lookahead, blocks.Ring-1)
	case o.ballast < 0:
		return fmt.Errorf("-ballast %d is below 0", o.ballast)
	case o.spares < 0:
		return fmt.Errorf("-spares %d is below 0", o.spares)
	case o.picture != "" && (o.kills == 0 || o.spares == 0):
		return errors.New("-picture needs kills and a standby")
	}
	return nil
}

// bench is one run.
type bench struct {
	options
	dir     *scratch.Dir
	music   []chain.Block
	daemons int
	results []*result
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	b := &bench{}
	if err := b.read(args, stderr); err != nil {
		return err
	}
	if err := os.MkdirAll(b.Dir, 0o755); err != nil {
		return err
	}
	if b.wav == "" {
		b.wav = filepath.Join(b.Dir, "input.wav")
		if err := writeWAV(b.wav, testSignal()); err != nil {
			return err
		}
	}
	if b.music, err = readWAV(b.wav); err != nil {
		return err
	}
	if b.dir, err = scratch.New(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.dir.Close()) }()
	if err := daemon.BuildMissing(ctx, b.dir.Join(), map[*string]string{&b.understudyd: daemon.Program, &b.dsp: daemon.DSP}); err != nil {
		return err
	}
	realtime.MakeRoom()
	// The host is the instrument: it collects its garbage between takes.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var printed bytes.Buffer
	if err := errors.Join(b.all(ctx, io.MultiWriter(stdout, &printed)), b.writeJSON()); err != nil {
		return err
	}
	return b.WriteText(report.Source(b.understudyd), printed.Bytes())
}

func (b *bench) all(ctx context.Context, stdout io.Writer) error {
	r, t, err := b.take(ctx, b.options)
	if err != nil {
		return err
	}
	r.print(stdout)
	if err := writeWAV(filepath.Join(b.Dir, "output.wav"), t.out); err != nil {
		return err
	}
	if o := b.options; o.load == busy.Busy && o.again && o.spares > 0 && r.Dropouts > 0 && r.Needed < blocks.Ring {
		o.lookahead = r.Needed
		again, _, err := b.take(ctx, o)
		if err != nil {
			return err
		}
		again.print(stdout)
	}
	if b.picture == "" {
		return nil
	}
	o := b.options
	o.spares, o.kills = 0, forPicture
	cold, coldTake, err := b.take(ctx, o)
	if err != nil {
		return err
	}
	cold.print(stdout)
	return drawKills(b.picture, around(r, t, "with a standby"), around(cold, coldTake, "without: cold restart"))
}

// take plays once, with a daemon of its own.
func (b *bench) take(ctx context.Context, o options) (r *result, t *take, err error) {
	b.daemons++
	dir, err := b.dir.Make(strconv.Itoa(b.daemons))
	if err != nil {
		return nil, nil, err
	}
	if o.load == busy.Busy {
		l, err := busy.Start(ctx, runtime.NumCPU())
		if err != nil {
			return nil, nil, err
		}
		defer l.Stop()
	}
	d, err := daemon.Start(ctx, daemon.Config{Program: b.understudyd, Dir: dir, Pattern: daemon.Pattern{
		Name: "dsp", Program: b.dsp, Config: map[string]string{"ballast_mb": strconv.Itoa(o.ballast)},
		Environment: map[string]string{"GOTRACEBACK": "none"}, Segments: blocks.Specs(), Spares: o.spares, Heir: true, StartTimeout: startTimeout}})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	id, _, err := d.Launch(ctx, "bench")
	if err != nil {
		return nil, nil, err
	}
	shared, release, err := open(ctx, d, id)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	if err := d.AwaitSpare(ctx); err != nil {
		return nil, nil, err
	}
	n := int(time.Duration(o.kills+2) * between / due(1))
	t = newTake(n)
	want := reference(b.music, n)
	r = &result{Load: o.load, BallastMB: o.ballast, Spares: o.spares, Lookahead: o.lookahead}
	runtime.GC()
	watch, noWatch := standstill.Start(ctx)
	killed := make(chan error, 1)
	err = t.play(shared, b.music, func(begun time.Time) {
		go func() {
			var err error
			r.Kills, err = killer(ctx, d, id, begun, o.kills)
			killed <- err
		}()
	})
	err = errors.Join(err, <-killed)
	var stops []standstill.Span
	if r.Watched = noWatch == nil; r.Watched {
		var stopErr error
		stops, stopErr = watch.Stop()
		err = errors.Join(err, stopErr)
	}
	if err != nil {
		return nil, nil, err
	}
	r.judge(t, want, stops)
	b.results = append(b.results, r)
	return r, t, d.Terminate(ctx, id)
}

// open maps the segments of a binding by their names.
func open(ctx context.Context, d *daemon.Daemon, id string) (shared *blocks.Shared, release func(), err error) {
	paths, err := d.Segments(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	segments := map[string]*segment.Segment{}
	release = func() {
		for _, s := range segments {
			_ = s.Close()
		}
	}
	for name, path := range paths {
		s, err := segment.Open(path)
		if err != nil {
			release()
			return nil, nil, err
		}
		segments[name] = s
	}
	if shared, err = blocks.Of(segments); err != nil {
		release()
		return nil, nil, err
	}
	return shared, release, nil
}

func (b *bench) writeJSON() error {
	text, err := json.MarshalIndent(b.results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.Dir, "audio.json"), append(text, '\n'), 0o644)
}
