package supervisor_test

import (
	"errors"
	"fmt"
	"testing"

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

// A takeover engine that hangs is ended, and bindings fail over again; also
// when the supervisor is asked to stop.
func TestSentinelHangs(t *testing.T) {
	d := startDaemon(t, map[string]string{"echo": echoManifest(t, "echo", "")})
	r := d.launch("echo", "acme")
	d.eventually(d.full)
	hung, err := d.sentinel()
	require.NoError(t, err)
	require.NoError(t, d.signal(hung.pid, unix.SIGSTOP))
	d.kill(r.ProcessId)
	d.journal.until(t, "failover", 1)
	d.journal.until(t, "repaired", 1)
	d.journal.until(t, "sentinel_exited", 1)
	d.eventually(d.full)

	var next process
	d.eventually(func() error { // it is told of before the next is started
		next, err = d.sentinel()
		if err == nil && next.pid == hung.pid {
			err = errors.New("no new sentinel")
		}
		return err
	})
	require.NoError(t, d.signal(next.pid, unix.SIGSTOP))
	d.stopClean()
}
