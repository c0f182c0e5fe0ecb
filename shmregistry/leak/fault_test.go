package leak

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Every way to hold an object keeps it, and its end lets it go.
func TestEveryWayToHold(t *testing.T) {
	b := newBed(t, nil).proven()
	p := prefix(t)
	ways := []string{"open read", "open write", "map shared", "map private", "in flight"}
	var lines []string
	for i := range 4 * len(ways) {
		lines = append(lines, fmt.Sprintf("make %s%s%02d 4096", shm, p, i))
	}
	w := script(t, lines...)
	b.Watch(w.pid, Remove)
	w.ready()
	release := map[string]func(){}
	for i, way := range ways {
		name := fmt.Sprintf("%s%02d", p, i)
		release[name] = hold(t, shm+name, way)
	}
	w.kill()
	b.Ended(w.pid)
	for name, f := range b.next(len(lines)) {
		want := Removed
		if release[name] != nil {
			want = Kept
		}
		require.Equal(t, want, f.Action, "%s: %s", name, f.Why)
	}
	require.Len(t, names(t, p), len(ways))
	for name, end := range release {
		end()
		// Our own closes are not listened to: the removals close files too.
		require.Equal(t, 1, b.Reconcile())
		require.Equal(t, Removed, b.next(1)[name].Action)
	}
	require.Empty(t, names(t, p))
}

func hold(t *testing.T, path, way string) (release func()) {
	t.Helper()
	flags := unix.O_RDONLY
	if way == "open write" {
		flags = unix.O_WRONLY
	}
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	kind := unix.MAP_SHARED
	switch way {
	case "map private":
		kind = unix.MAP_PRIVATE
		fallthrough
	case "map shared":
		m, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, kind)
		require.NoError(t, err)
		require.NoError(t, unix.Close(fd))
		return func() { require.NoError(t, unix.Munmap(m)) }
	case "in flight":
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0))
		require.NoError(t, unix.Close(fd))
		return func() {
			require.NoError(t, unix.Close(pair[0]))
			require.NoError(t, unix.Close(pair[1]))
		}
	}
	return func() { require.NoError(t, unix.Close(fd)) }
}

// One worker's segment is handed to another and is still mapped there.
func TestHandedToAnotherWorker(t *testing.T) {
	b := newBed(t, nil).proven()
	p := prefix(t)
	first := script(t, "make "+shm+p+"a 4096")
	b.Watch(first.pid, Remove)
	first.ready()
	second := script(t, "map "+shm+p+"a", "make "+shm+p+"b 4096")
	b.Watch(second.pid, Remove)
	second.ready()
	b.Reconcile()
	objects, _ := b.Usage(second.pid)
	require.Equal(t, 1, objects, "what another made is not its own")
	first.kill()
	b.Ended(first.pid)
	require.Equal(t, Kept, b.next(1)[p+"a"].Action)
	second.kill()
	b.Ended(second.pid)
	found := b.next(2)
	require.Equal(t, Removed, found[p+"a"].Action)
	require.Equal(t, first.pid, found[p+"a"].PID)
	require.Equal(t, Removed, found[p+"b"].Action)
	require.Empty(t, names(t, p))
}

// A child that made an object and closed it may want it by name while it lives.
func TestChildThatLivesOn(t *testing.T) {
	b := newBed(t, nil).proven()
	p := prefix(t)
	w := script(t, "child touch "+shm+p+"a")
	b.Watch(w.pid, Remove)
	w.ready()
	b.Reconcile()
	_ = w.cmd.Process.Kill()
	_, _ = w.cmd.Process.Wait()
	b.Ended(w.pid)
	f := b.next(1)[p+"a"]
	require.Equal(t, Kept, f.Action)
	require.Contains(t, f.Why, "child of the worker")
	require.Len(t, names(t, p), 1)
	w.in.Close()
	require.Eventually(t, func() bool { return b.Reconcile() == 1 }, waitFor, tick)
	require.Equal(t, Removed, b.next(1)[p+"a"].Action)
}

// A worker that was there before the finder: its objects are told, not touched.
func TestAdopted(t *testing.T) {
	p := prefix(t)
	older := script(t, "make "+shm+p+"old 4096")
	older.ready()
	// Another test process, so that its start is a tick later at least.
	w := script(t, "make "+shm+p+"mine 4096", "wait", "make "+shm+p+"new 4096")
	w.ready()
	b := newBed(t, nil).proven()
	b.Watch(w.pid, Remove)
	b.Reconcile()
	objects, _ := b.Usage(w.pid)
	require.Equal(t, 1, objects)
	_, err := w.in.Write([]byte{0})
	require.NoError(t, err)
	w.ready()
	w.kill()
	b.Ended(w.pid)
	found := b.next(2)
	require.Equal(t, Kept, found[p+"mine"].Action)
	require.Equal(t, Removed, found[p+"new"].Action)
	require.Equal(t, []string{p + "mine", p + "old"}, names(t, p))
}

// More events than the queue holds, while the finder is busy: what was lost is
// counted, nothing is removed without proof, and then it goes on as before.
func TestOverflow(t *testing.T) {
	resume := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(resume) })
	busy := make(chan struct{}, 1)
	found := make(chan Finding, 100)
	b := newBed(t, func(c *Config) {
		c.OnFinding = func(f Finding) {
			found <- f
			busy <- struct{}{}
			<-resume
		}
	}).proven()
	b.findings = found
	t.Cleanup(goOn) // before Close, which waits for the callback
	p := prefix(t)
	stopper := script(t, "touch "+shm+p+"stop")
	b.Watch(stopper.pid, Remove)
	stopper.ready()
	w := script(t, "wait", "make "+shm+p+"lost 4096")
	b.Watch(w.pid, Remove)
	w.ready()
	stopper.kill()
	b.Ended(stopper.pid)
	<-busy

	dir := filepath.Join(shm, p+"x")
	for i := range 20000 { // fs.fanotify.max_queued_events is 16384
		name := fmt.Sprint(dir, i)
		fd, err := unix.Open(name, unix.O_CREAT|unix.O_RDWR, 0o600)
		require.NoError(t, err)
		unix.Close(fd)
		require.NoError(t, os.Remove(name))
	}
	_, err := w.in.Write([]byte{0})
	require.NoError(t, err)
	w.ready()
	goOn()
	require.Equal(t, Removed, b.next(1)[p+"stop"].Action)
	w.kill()
	b.Ended(w.pid)
	b.none()
	require.Equal(t, []string{p + "lost"}, names(t, p))
	require.NotZero(t, b.Counters().Overflows)

	again := script(t, "touch "+shm+p+"again")
	b.Watch(again.pid, Remove)
	again.ready()
	again.kill()
	b.Ended(again.pid)
	require.Equal(t, Removed, b.next(1)[p+"again"].Action)
}

func TestNoDirectory(t *testing.T) {
	_, err := New(Config{ShmDir: "/no/such/directory"})
	require.ErrorContains(t, err, "/no/such/directory")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAfterClose(t *testing.T) {
	b := newBed(t, nil)
	b.Watch(os.Getpid(), Remove)
	b.Close()
	b.Close()
	b.Watch(1, Remove)
	b.Ended(os.Getpid())
	require.Zero(t, b.Reconcile())
	objects, bytes := b.Usage(os.Getpid())
	require.Zero(t, objects+int(bytes))
}

// What an ordinary user gets: System V by proof, files reported and kept.
func TestOrdinaryUser(t *testing.T) {
	if unix.Getuid() != 0 {
		t.Skip("the other tests run as an ordinary user already")
	}
	// The binary may lie where only its owner can go.
	self, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer self.Close()
	cmd := exec.Command("/proc/self/exe", "-test.run=^(TestUnprivileged|TestSystemV|TestPythonWorker)$", "-test.v")
	cmd.Path = fmt.Sprintf("/proc/self/fd/%d", self.Fd())
	cmd.Dir = "/"
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
	require.Contains(t, string(out), "--- PASS: TestUnprivileged")
	require.Contains(t, string(out), "fanotify with pids: operation not permitted")
}
