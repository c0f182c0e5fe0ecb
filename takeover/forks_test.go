package takeover

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/cgroup"
	"understudy/internal/procfs"
)

// aGroup makes a control group for one worker of a test.
func aGroup(t testing.TB) *cgroup.Group {
	t.Helper()
	tree, err := cgroup.Open(fmt.Sprintf("takeover-test-%d", os.Getpid()))
	if err != nil {
		t.Skipf("control groups cannot be made here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, tree.Close()) })
	group, err := tree.Make(1)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, group.Remove(30*time.Second)) })
	return group
}

// forker is a process that has forked others.
type forker struct {
	*exec.Cmd
	pidfd int
	forks []int
}

// startForker runs a shell script, in a group unless that is nil, that prints
// the pids of what it forked on one line.
func startForker(t testing.TB, group *cgroup.Group, script string) forker {
	t.Helper()
	f := forker{Cmd: exec.Command("/bin/sh", "-c", script), pidfd: -1}
	f.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, PidFD: &f.pidfd}
	if group != nil {
		dir, err := group.Open()
		require.NoError(t, err)
		defer dir.Close()
		f.SysProcAttr.UseCgroupFD, f.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	out, err := f.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, f.Start())
	t.Cleanup(func() {
		_ = unix.Kill(-f.Process.Pid, unix.SIGKILL)
		_ = f.Wait()
		unix.Close(f.pidfd)
		for _, pid := range f.forks { // what a broken test leaves
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	for word := range strings.FieldsSeq(line) {
		pid, err := strconv.Atoi(word)
		require.NoError(t, err)
		f.forks = append(f.forks, pid)
	}
	return f
}

func runs(pid int) bool {
	st, err := procfs.ReadStat(pid)
	return err == nil && !st.Ended()
}

// end waits until none of some processes runs.
func end(t *testing.T, pids []int) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, pid := range pids {
			if runs(pid) {
				return false
			}
		}
		return true
	}, 30*time.Second, time.Millisecond)
}

// What a worker forked is killed before its successor is activated, here before
// there is one, whatever session and group it is in. The heir stays.
func TestForksEndBeforeTheActivation(t *testing.T) {
	group := aGroup(t)
	procs, err := group.OpenProcs()
	require.NoError(t, err)
	defer procs.Close()
	w := startForker(t, group, `exec 2>&1
sleep 1000 >/dev/null & a=$!
setsid sleep 1000 >/dev/null & b=$!
(sleep 1000 >/dev/null & echo $! ) >/dev/null
sleep 1000 >/dev/null & heir=$!
sh -c 'i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; wait' >/dev/null & c=$!
echo $a $b $c $heir; exec sleep 1000`)
	heir := w.forks[3]
	s := newStation(t, endless)
	control, _ := socketpair(t)
	doom, _ := socketpair(t)
	require.NoError(t, s.Watch(1, w.Process.Pid, w.pidfd, control, int(procs.Fd())))
	require.NoError(t, s.Heir(1, heir, doom))
	require.NoError(t, s.Arm(aPlan(1, 1), false))
	s.taken(t)

	require.NoError(t, w.Process.Kill())
	s.until(t, Waiting)
	end(t, w.forks[:3])
	require.Eventually(t, func() bool { // and whatever it was forking meanwhile
		pids, err := group.Pids()
		require.NoError(t, err)
		for _, pid := range pids {
			if pid != heir && pid != w.Process.Pid && runs(pid) {
				return false
			}
		}
		return true
	}, 30*time.Second, time.Millisecond)
	require.True(t, runs(heir), "the heir has its work before it")
	standby := startGuarded(t, s.Client, 2, false)
	require.True(t, standby.silent())
	require.NoError(t, s.Offer(2, 1, false))
	require.Equal(t, "activate", standby.read(t))
	require.NoError(t, unix.Kill(heir, unix.SIGKILL))
}

// Without a control group the process group ends, which a process can leave.
func TestForksOfAProcessGroupEnd(t *testing.T) {
	w := startForker(t, nil, `sleep 1000 >/dev/null & a=$!; setsid sleep 1000 >/dev/null & echo $a $!; exec sleep 1000`)
	s := newStation(t, endless)
	control, _ := socketpair(t)
	require.NoError(t, s.Watch(1, w.Process.Pid, w.pidfd, control, -1))
	require.NoError(t, s.Arm(aPlan(1, 1), false))
	s.taken(t)
	require.Eventually(t, func() bool { // setsid has run
		st, err := procfs.ReadStat(w.forks[1])
		return err == nil && st.Group != w.Process.Pid
	}, 30*time.Second, time.Millisecond)
	require.NoError(t, w.Process.Kill())
	s.until(t, Waiting)
	end(t, w.forks[:1])
	require.True(t, runs(w.forks[1]))
}
