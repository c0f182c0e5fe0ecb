package pool

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/worker/heir"
)

// claimEnv is what a worker of role "claims an heir" claims: a pid, or a program
// that it starts as its sibling.
const claimEnv = "POOL_TEST_CLAIM"

func claimed() int {
	claim := os.Getenv(claimEnv)
	if pid, err := strconv.Atoi(claim); err == nil {
		return pid
	}
	p, err := os.StartProcess(claim, []string{claim, "1000"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT}})
	if err != nil {
		panic(err)
	}
	return p.Pid
}

// heirsNow are the engine's words of heirs so far.
func (y *yard) heirsNow() (told []heirTold) {
	for {
		select {
		case h := <-y.engineHeirs:
			told = append(told, h)
		default:
			return told
		}
	}
}

// A worker that may have an heir and made none counts as without one: its death
// is reported at once.
func TestWorkerWithoutAnHeirIsToldOfAsSuch(t *testing.T) {
	y := newYard(t, never, role("healthy once"))
	next(t, y.ready)
	require.Empty(t, y.heirsNow())
}

// What does not share the worker's memory is no heir of its own, whatever its
// name and whoever its parent.
func TestFalseHeirIsNotBelieved(t *testing.T) {
	if !kcmpWorks() {
		t.Skip("kcmp(2) does not let us look")
	}
	t.Run("a sibling", func(t *testing.T) {
		program := filepath.Join(t.TempDir(), heir.Name)
		copyProgram(t, "sleep", program)
		m := role("claims an heir")
		m.Environment[claimEnv] = program
		y := newYard(t, never, m)
		w := next(t, y.ready)
		y.do(func() { require.Zero(t, w.heir) })
		require.Empty(t, y.heirsNow())
		y.do(func() {
			pids, err := heir.Children()
			require.NoError(t, err)
			ended := 0
			for _, pid := range pids { // other tests' may be there too
				if exe, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe"); exe == program {
					require.NoError(t, unix.Kill(pid, unix.SIGKILL))
					_, err = unix.Wait4(pid, nil, unix.WALL, nil)
					require.NoError(t, err)
					ended++
				}
			}
			require.Equal(t, 1, ended, "the sibling did not come to be")
		})
	})
	t.Run("another's", func(t *testing.T) {
		y := newYard(t, never, role("good"))
		honest := next(t, y.ready)
		var pid int
		y.do(func() { pid = honest.heir })
		require.NotZero(t, pid)
		require.Len(t, y.heirsNow(), 1)
		m := role("claims an heir")
		m.Name, m.Environment[claimEnv] = "b", strconv.Itoa(pid)
		y.do(func() { y.AddPool("b", m) })
		liar := next(t, y.ready)
		y.do(func() {
			require.Zero(t, liar.heir)
			require.Equal(t, pid, honest.heir)
		})
		require.Empty(t, y.heirsNow())
	})
}

func kcmpWorks() bool {
	_, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(os.Getpid()), uintptr(os.Getppid()), 1, 0, 0, 0)
	return errno == 0
}

func copyProgram(t *testing.T, name, to string) {
	t.Helper()
	from, err := exec.LookPath(name)
	require.NoError(t, err)
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o700)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}

// A worker whose heir was killed counts as without one from then on.
func TestKilledHeirIsNoticed(t *testing.T) {
	y := newYard(t, never, role("good"))
	w := next(t, y.ready)
	told := next(t, y.engineHeirs)
	require.Equal(t, w.ID, told.worker)
	require.NoError(t, unix.Kill(told.pid, unix.SIGKILL))
	require.Equal(t, heirTold{worker: w.ID}, next(t, y.engineHeirs))
	y.do(func() { require.Equal(t, Standby, w.State()) })
}

// An heir's real-time priority is bounded: a worker can write to its code.
func TestHeirInRealTimeIsBounded(t *testing.T) {
	cfg := never
	cfg.Realtime = true
	y := newYard(t, cfg, role("good"))
	next(t, y.ready)
	pid := next(t, y.engineHeirs).pid
	y.do(func() {
		var limit unix.Rlimit
		require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_RTTIME, nil, &limit))
		require.Equal(t, uint64(realtimeLimit.Microseconds()), limit.Max)
		attr, err := unix.SchedGetAttr(pid, 0)
		require.NoError(t, err)
		if attr.Policy != unix.SCHED_FIFO {
			t.Log("no real-time priority is permitted here")
		}
	})
}
