//go:build linux && (amd64 || arm64)

package heir

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// patience is how long anything may take here before the test gives up.
const patience = 30 * time.Second

// supervised is a worker whose parent, and so its heir's, is this process.
type supervised struct {
	t        testing.TB
	proc     *os.Process
	pidfd    int
	heir     int // pid, 0 without one
	fence    *os.File
	reports  *json.Decoder
	pipe     *os.File // where they come from
	stdin    *os.File // its closing makes the worker do spec.On
	unixAddr unix.Sockaddr
	tcpAddr  unix.Sockaddr
	dir      string // its working directory
	listener *net.UnixListener
	status   *os.ProcessState
}

// supervise starts a worker and returns when it is ready.
func supervise(t testing.TB, s spec) *supervised {
	t.Helper()
	w := launch(t, s)
	w.heir = w.report().Heir
	require.Equal(t, s.Heir, w.heir != 0)
	return w
}

// launch starts a worker. At the end of the test it will be dead, and all that
// belongs to it gone.
func launch(t testing.TB, s spec) *supervised {
	t.Helper()
	w := &supervised{t: t, dir: t.TempDir(), pidfd: -1}
	name := filepath.Join(w.dir, "s")
	unixListener, err := net.Listen("unix", name)
	require.NoError(t, err)
	w.listener = unixListener.(*net.UnixListener)
	tcpListener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer tcpListener.Close()
	w.unixAddr = &unix.SockaddrUnix{Name: name}
	w.tcpAddr = &unix.SockaddrInet4{Port: tcpListener.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	unixFile, err := w.listener.File()
	require.NoError(t, err)
	defer unixFile.Close()
	tcpFile, err := tcpListener.(*net.TCPListener).File()
	require.NoError(t, err)
	defer tcpFile.Close()

	fence, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	require.NoError(t, err)
	w.fence = os.NewFile(uintptr(fence), "fence")
	reports, reporter, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { reports.Close() })
	defer reporter.Close()
	stdin, stdinWriter, err := os.Pipe()
	require.NoError(t, err)
	defer stdin.Close()
	w.stdin = stdinWriter

	text, err := json.Marshal(s)
	require.NoError(t, err)
	w.proc, err = os.StartProcess("/proc/self/exe", []string{"worker"}, &os.ProcAttr{
		Dir: w.dir,
		// The race detector's second of sleep at exit is not for these.
		Env:   append(os.Environ(), specEnv+"="+string(text), "GORACE=atexit_sleep_ms=0"),
		Files: []*os.File{stdin, os.Stdout, os.Stderr, reporter, unixFile, tcpFile, w.fence},
		Sys:   &syscall.SysProcAttr{Setpgid: true, PidFD: &w.pidfd},
	})
	require.NoError(t, err)
	reporter.Close()
	t.Cleanup(w.cleanup)
	require.NoError(t, reports.SetReadDeadline(time.Now().Add(patience)))
	w.reports, w.pipe = json.NewDecoder(reports), reports
	return w
}

// report waits for what the worker has to say.
func (w *supervised) report() (r report) {
	w.t.Helper()
	require.NoError(w.t, w.reports.Decode(&r), "the worker's report")
	require.Empty(w.t, r.Failed)
	return r
}

// cleanup leaves nothing behind, whatever went wrong.
func (w *supervised) cleanup() {
	if w.status == nil {
		_ = w.proc.Kill()
		w.bury()
	}
	w.listener.Close()
	w.fence.Close()
	w.stdin.Close()
	unix.Close(w.pidfd)
}

// kill kills the worker alone.
func (w *supervised) kill() time.Time {
	w.t.Helper()
	at := time.Now()
	w.signal(unix.SIGKILL)
	return at
}

// signal sends the worker alone a signal.
func (w *supervised) signal(s unix.Signal) {
	w.t.Helper()
	require.NoError(w.t, unix.PidfdSendSignal(w.pidfd, s, nil, 0))
}

// dead returns whether the worker is.
func (w *supervised) dead() bool { return readable(w.pidfd, 0) }

// bury waits for the worker's end and its heir's and returns their statuses.
func (w *supervised) bury() (worker *os.ProcessState, heir ended) {
	w.t.Helper()
	var err error
	w.status, err = w.proc.Wait()
	require.NoError(w.t, err)
	if w.heir != 0 {
		// It frees the memory with what time is left over: not on a busy
		// machine in a test that waits for it.
		_ = unix.SchedSetAttr(w.heir, &unix.SchedAttr{Size: unix.SizeofSchedAttr}, 0)
		heir = waitFor(w.t, w.heir)
		w.heir = 0
	}
	return w.status, heir
}

// buryNow kills the worker and buries it.
func (w *supervised) buryNow() {
	w.t.Helper()
	w.kill()
	w.bury()
}

// ended is how a child of this process ended.
type ended struct {
	signal syscall.Signal // 0 if it exited
	code   int
}

// waitFor reaps one child.
func waitFor(t testing.TB, pid int) ended {
	t.Helper()
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(pid, &status, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		require.NoError(t, err, "wait for %d", pid)
		require.Equal(t, pid, got)
		if status.Signaled() {
			return ended{signal: status.Signal()}
		}
		return ended{code: status.ExitStatus()}
	}
}

// died waits for the worker's pidfd and returns the time.
func (w *supervised) died() time.Time {
	if !readable(w.pidfd, patience) {
		panic("the worker does not die")
	}
	return time.Now()
}

// readable returns whether the descriptor is, within the time.
func readable(fd int, within time.Duration) bool {
	deadline := time.Now().Add(within)
	for {
		left := unix.NsecToTimespec(max(0, time.Until(deadline).Nanoseconds()))
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, &left, nil)
		switch {
		case err == nil:
			return n > 0
		case !errors.Is(err, unix.EINTR):
			panic(fmt.Sprint("poll: ", err))
		}
	}
}

// doom is what a supervisor does when it knows that the worker is lost.
func (w *supervised) doom() {
	w.t.Helper()
	_, err := w.fence.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0})
	require.NoError(w.t, err)
}
