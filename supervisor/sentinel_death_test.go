package supervisor_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The takeover engine may die at any moment, before, between and after the
// deaths that it is there for: the supervisor starts another, every binding
// goes on, and none is ever given to two workers.
func TestSentinelDiesAmidDeaths(t *testing.T) {
	const spares = 2
	d := startDaemon(t, chaosManifests(t, spares))
	k := newKiller(d, settleIn(d)...)
	workers := len(k.tenants) + 2*spares
	was := d.settled(workers)
	clients := startLoad(t, k.tenants)

	kill := way{signal: unix.SIGKILL}
	spare := way{standby: true, signal: unix.SIGKILL}
	for round, deaths := range [][2][]way{ // before the sentinel's, and after
		{{}, {}},
		{{kill}, {}},
		{{}, {kill}},
		{{kill, spare}, {kill}},
		{{kill, kill, kill}, {spare}},
		{{spare, spare}, {kill, kill, kill}},
	} {
		old, err := d.sentinel()
		require.NoError(t, err)
		for _, w := range deaths[0] {
			k.strike(w)
		}
		require.NoError(t, d.signal(old.pid, unix.SIGKILL))
		for _, w := range deaths[1] {
			k.strike(w)
		}
		d.journal.until(t, "sentinel_exited", round+1)
		k.settle()
		for _, tn := range k.tenants {
			tn.answers()
		}
		d.eventually(func() error {
			s, err := d.sentinel()
			if err == nil && s.pid == old.pid {
				err = fmt.Errorf("no new sentinel")
			}
			return err
		})
		d.settled(workers)
		// And the new one does its work.
		before := d.journal.count("failover")
		require.True(t, k.strike(kill))
		d.journal.until(t, "failover", before+1)
	}
	k.settle()
	d.returnsTo(was)
	clients.end()
	k.account()
	d.stopClean()
}

// A takeover engine that was stopped is replaced as soon as there is something
// to do: a death, a launch, a stop. The heartbeat, which would find it seconds
// later, has another word for it.
func TestStoppedSentinelIsReplacedWhenThereIsSomethingToDo(t *testing.T) {
	d := startDaemon(t, map[string]string{"echo": echoManifest(t, "echo", "")})
	r := d.launch("echo", "acme")
	for round, toDo := range []func(){
		func() { d.kill(r.ProcessId); d.journal.until(t, "failover", 1) },
		func() { d.launch("echo", "globex") },
		func() {
			pid, ok := d.journal.anyStandby(rand.New(rand.NewPCG(1, 0)))
			require.True(t, ok)
			require.NoError(t, d.signal(pid, unix.SIGKILL))
		},
		func() { d.stopClean() },
	} {
		last := round == 3
		d.launch("echo", fmt.Sprintf("proof-%d", round)) // the engine of now does its work
		d.eventually(d.full)
		hung, err := d.sentinel()
		require.NoError(t, err)
		require.NoError(t, d.signal(hung.pid, unix.SIGSTOP))
		d.eventually(func() error {
			if p, ok := stat(hung.pid); ok && p.state != "T" {
				return fmt.Errorf("not stopped yet: %v", p)
			}
			return nil
		})
		toDo()
		if !last {
			d.journal.until(t, "sentinel_exited", round+1)
		}
		b, err := os.ReadFile(d.path("log"))
		require.NoError(t, err)
		require.Equal(t, round+1, strings.Count(string(b), `"why":"was stopped"`))
		require.NotContains(t, string(b), "did not answer")
	}
}

// An engine that is held up while nothing is to be done stays, however short
// the interval of the reconcile passes is.
func TestSentinelThatIsLateStays(t *testing.T) {
	d := startDaemon(t, map[string]string{"echo": echoManifest(t, "echo", "")})
	r := d.launch("echo", "acme")
	d.eventually(d.full)
	late, err := d.sentinel()
	require.NoError(t, err)
	require.NoError(t, d.signal(late.pid, unix.SIGSTOP))
	<-time.After(5 * resyncInterval) // several passes
	require.NoError(t, d.signal(late.pid, unix.SIGCONT))
	d.kill(r.ProcessId)
	d.journal.until(t, "failover", 1)
	is, err := d.sentinel()
	require.NoError(t, err)
	require.Equal(t, late.pid, is.pid)
	require.Zero(t, d.journal.count("sentinel_exited"))
	d.stopClean()
}
