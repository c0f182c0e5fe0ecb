package supervisor_test

import (
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	understudyv1 "understudy/proto/understudy/v1"
)

const burners = 32

// burn keeps every core busy until stdin closes.
func burn() {
	var over atomic.Bool
	for range burners {
		go func() {
			for !over.Load() {
			}
		}()
	}
	os.Stdout.WriteString("burning\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	over.Store(true)
}

// Neither the sentinel nor the standbys get a core of their own: a failover
// must come all the same.
func TestFailoverBesideBusyNeighbours(t *testing.T) {
	d := startDaemon(t, map[string]string{"echo": echoManifest(t, "echo", "spares: {min: 2, max: 2}\nprobe: {interval: 0}")})
	r := d.launch("echo", "acme")
	tn := newTenant(t, r.ProcessId, r.Address)
	k := newKiller(d, tn)
	was := d.settled(3)

	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), burnEnv+"=1", "GOMAXPROCS=32")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	_, err = out.Read(make([]byte, 8))
	require.NoError(t, err)

	clients := startLoad(t, k.tenants)
	for n := 1; n <= 5; n++ {
		b, err := d.supervisor.GetBinding(d.ctx(), &understudyv1.GetBindingRequest{ProcessId: tn.processID})
		require.NoError(t, err)
		require.True(t, k.hit(int(b.Pid), unix.SIGKILL))
		d.journal.until(t, "failover", n)
		tn.answers()
	}
	clients.end()
	k.settle()
	d.returnsTo(was)
	k.account()
	d.stopClean()
}
