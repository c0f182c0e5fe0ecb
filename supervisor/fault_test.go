//go:build faults

package supervisor_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/fault"
	"understudy/proto/prism/launcher"
)

// buildTags are those of the programs under test.
const buildTags = "faults"

var faultOnly = flag.String("fault.only", "", "labels that TestFaultChaos tries, with commas between them; \"\" is all")

// servedWithin bounds how long a binding may be without an answer after a
// fault. It is generous: a loaded machine is not what is tested.
const servedWithin = 20 * time.Second

// faulty is a daemon and its workers under fire, and the faults of both.
type faulty struct {
	*killer
	daemons, workers fault.Faults
	scratch          int
}

func startFaulty(t *testing.T) *faulty {
	dir := t.TempDir()
	daemons, err := fault.In(filepath.Join(dir, "daemon"))
	require.NoError(t, err)
	workers, err := fault.In(filepath.Join(dir, "worker"))
	require.NoError(t, err)
	t.Setenv(fault.Variable, daemons.Dir)
	manifests := map[string]string{}
	for _, listen := range []string{"unix", "tcp"} {
		manifests["echo-"+listen] = echoManifest(t, "echo-"+listen, fmt.Sprintf("listen: %s\nspares: {min: 2, max: 2}\n"+
			"probe: {interval: 100ms, timeout: 500ms}\nenvironment: {%s: %q}\n"+
			"segments: [{name: state, size: 64KiB, on_death: handover}, {name: scratch, size: 4096, on_death: unlink, named: true}]",
			listen, fault.Variable, workers.Dir))
	}
	d := startDaemon(t, manifests)
	return &faulty{killer: newKiller(d, settleIn(d)...), daemons: daemons, workers: workers}
}

// provocations are what makes a daemon come by every label, sooner or later.
func (f *faulty) provocations() []func() {
	active := func(sig unix.Signal) func() { return func() { f.strike(way{signal: sig}) } }
	return []func(){
		active(unix.SIGKILL),
		func() { f.strike(way{standby: true, signal: unix.SIGKILL}) },
		f.launchAndRelease,
		func() { f.massacre(); f.launchAndRelease() },
		active(unix.SIGSTOP),
	}
}

// killEngine has another engine started.
func (f *faulty) killEngine() {
	if s, err := f.sentinel(); err == nil {
		_ = f.signal(s.pid, unix.SIGKILL)
	}
}

// launchAndRelease has a binding come and go. It may fail, if with an error.
func (f *faulty) launchAndRelease() {
	f.scratch++
	namespace := fmt.Sprintf("scratch-%d", f.scratch)
	f.calls.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r, err := f.launcher.LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: "echo-unix", Namespace: namespace})
		if err != nil {
			return
		}
		_, _ = f.launcher.TerminatePattern(ctx, &launcher.TerminateRequest{ProcessId: r.ProcessId})
	})
	f.calls.Go(func() { // while it waits for a worker
		<-time.After(time.Duration(rand.Int64N(int64(30 * time.Millisecond))))
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = f.launcher.TerminatePattern(ctx, &launcher.TerminateRequest{ProcessId: "ns:" + namespace + ":echo-unix"})
	})
}

// massacre kills every standby and an active worker: nobody is left to take over.
func (f *faulty) massacre() {
	f.journal.mu.Lock()
	standbys := slices.Clone(f.journal.standbys)
	f.journal.mu.Unlock()
	for _, pid := range standbys {
		f.hit(pid, unix.SIGKILL)
	}
	f.strike(way{signal: unix.SIGKILL})
}

// companions are faults without which a label is not reached: an event is lost
// only where there is something to tell.
var companions = map[fault.Label][]companion{
	fault.LostLost:     {{fault.Activate, unix.EPIPE}},
	fault.LostRetrying: {{fault.Activate, unix.ENOBUFS}},
	fault.LostRejected: {{fault.EngineCut, 0}},
	fault.LostRefused:  {{fault.LostActivated, 0}},
	fault.LostRepaired: {{fault.EngineCut, 0}, {fault.LostRejected, 0}},
}

type companion struct {
	label fault.Label
	errno unix.Errno
}

// atWorkers are the labels that only a worker comes by, or also a worker.
var atWorkers = []fault.Label{fault.ControlSend, fault.ControlRecv, fault.ControlCut}

// atStart are the labels that a daemon comes by only at its start, or its end.
var atStart = []fault.Label{fault.EpochsWrite, fault.EpochsSync, fault.EpochsRename, fault.EpochsDirSync}

// TestFaultChaos lets every labelled call of the core fail once, and every kind
// of the engine's events get lost once, while workers are killed. Then every
// binding serves again, at a higher epoch, by one worker; and nothing is left.
func TestFaultChaos(t *testing.T) {
	f := startFaulty(t)
	workers := len(f.tenants) + 4
	was := f.settled(workers)
	clients := startLoad(t, f.tenants)
	for _, l := range fault.All() {
		if slices.Contains(atStart, l) || *faultOnly != "" && !strings.Contains(","+*faultOnly+",", ","+string(l)+",") {
			continue
		}
		for _, at := range []fault.Faults{f.daemons, f.workers} {
			if at == f.workers && !slices.Contains(atWorkers, l) || at == f.daemons && l == fault.ControlCut {
				continue // workers send the daemon no descriptors
			}
			f.suffer(at, l)
		}
	}
	f.settle()
	f.returnsTo(was)
	clients.end()
	f.forgiving()
	f.account()
	f.returnsTo(was)
	f.stopClean()
}

// suffer arms a fault, kills until it has fired, and waits until every binding
// answers.
func (f *faulty) suffer(at fault.Faults, l fault.Label) {
	t := f.t
	begun := time.Now()
	for _, c := range companions[l] {
		require.NoError(t, f.daemons.Arm(c.label, c.errno))
		defer f.daemons.Disarm(c.label)
	}
	require.NoError(t, at.Arm(l, 0))
	ways := f.provocations()
	if l == fault.LostHello {
		f.killEngine()
		ways = []func(){func() {}}
	}
	for n := 0; !at.Fired(l); n++ {
		if time.Since(begun) > patience {
			t.Errorf("%s: nobody came by it", l)
			at.Disarm(l)
			break
		}
		for _, c := range companions[l] {
			if f.daemons.Fired(c.label) {
				require.NoError(t, f.daemons.Arm(c.label, c.errno))
			}
		}
		ways[n%len(ways)]()
		<-time.After(time.Duration(rand.Int64N(int64(200 * time.Millisecond))))
	}
	for _, c := range companions[l] {
		f.daemons.Disarm(c.label)
	}
	fired := time.Now()
	f.strike(way{signal: unix.SIGKILL}) // and now?
	f.calls.Wait()
	for _, tn := range f.tenants {
		tn.answers()
	}
	if took := time.Since(fired); took > servedWithin {
		t.Errorf("%s: bindings answered %v after it", l, took)
	}
	f.eventually(f.full)
	t.Logf("%-40s fired after %v, full again %v later", l, fired.Sub(begun).Round(time.Millisecond), time.Since(fired).Round(time.Millisecond))
}

// forgiving takes deaths by the supervisor's own decision, and by the worker's,
// for what they are here: a consequence of a fault. A worker whose activation
// was not heard of dies as a standby, and may have served anybody.
func (f *faulty) forgiving() {
	f.journal.mu.Lock()
	defer f.journal.mu.Unlock()
	var perhaps []death
	for i := range f.journal.deaths {
		d := &f.journal.deaths[i]
		if d.from().IsZero() {
			d.hung = d.exited.Add(-servedWithin)
		}
		for _, tn := range f.tenants {
			if d.processID == "" {
				of := *d
				of.processID = tn.processID
				perhaps = append(perhaps, of)
			}
		}
	}
	f.journal.deaths = append(f.journal.deaths, perhaps...)
}

// TestFaultAtTheStart lets what is written at a start and at an end fail. The
// daemon serves all the same, and no epoch comes again.
func TestFaultAtTheStart(t *testing.T) {
	daemons, err := fault.In(filepath.Join(t.TempDir(), "daemon"))
	require.NoError(t, err)
	t.Setenv(fault.Variable, daemons.Dir)
	d := startDaemon(t, map[string]string{"echo": echoManifest(t, "echo", "")})
	newest := uint64(0)
	higher := func(what fault.Label) {
		t.Helper()
		r := d.launch("echo", "acme")
		tn := newTenant(t, r.ProcessId, r.Address)
		tn.answers()
		require.Empty(t, tn.wrong)
		require.Greater(t, tn.newest.Load(), newest, what)
		newest = tn.newest.Load()
	}
	higher("")
	for _, l := range atStart {
		require.NoError(t, daemons.Arm(l, 0))
		d.restart()
		require.True(t, daemons.Fired(l), l)
		higher(l)
		d.eventually(d.full)
		d.restart()
		higher(l)
		d.eventually(d.full)
	}
	for _, l := range atStart { // an orderly end
		require.NoError(t, daemons.Arm(l, 0))
		err := d.stop()
		require.True(t, daemons.Fired(l), l)
		require.Error(t, err, "it says that the mark could not be written")
		<-d.exited
		d.start()
		higher(l)
	}
	b, err := os.ReadFile(d.path("log"))
	require.NoError(t, err)
	require.NotContains(t, string(b), "DATA RACE")
	require.False(t, strings.Contains(string(b), "panic:"))
}
