package takeover

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// BenchmarkForksOfNobody is what looking for forks costs a failover whose worker
// has forked nobody: the worker and its heir are in the group.
func BenchmarkForksOfNobody(b *testing.B) {
	group := aGroup(b)
	procs, err := group.OpenProcs()
	require.NoError(b, err)
	defer procs.Close()
	w := startForker(b, group, "sleep 1000 >/dev/null & echo $!; exec sleep 1000")
	f := newForkKiller()
	h := &handles{pid: w.Process.Pid, heir: w.forks[0], procs: int(procs.Fd())}
	for b.Loop() {
		f.kill(h, false)
	}
	require.NoError(b, unix.Kill(h.heir, 0), "the heir lives")
}
