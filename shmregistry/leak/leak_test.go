package leak

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const shm = "/dev/shm/"

// The story of the issue: ten segments of a Python worker, one of them held by
// a bystander, and a foreign program with similar names.
func TestPythonWorker(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	b := newBed(t, nil).proven()
	p := prefix(t)
	foreign := script(t, "make "+shm+p+"10 4096", "touch "+shm+p+"seg0", "make "+shm+"sem."+p+"0 32")
	foreign.ready()

	cmd := exec.Command(python, "-c", `
import sys
from multiprocessing import resource_tracker, shared_memory
resource_tracker.register = lambda *a: None
keep = [shared_memory.SharedMemory(name=sys.argv[1] + str(i), create=True, size=100000) for i in range(10)]
for s in keep: s.buf[0] = 1
print("ready", flush=True)
sys.stdin.read()`, p)
	w := start(t, cmd)
	b.Watch(w.pid, Remove)
	w.ready()
	b.Reconcile()
	objects, bytes := b.Usage(w.pid)
	require.Equal(t, 10, objects)
	require.Equal(t, int64(1_000_000), bytes)

	bystander := script(t, "map "+shm+p+"3")
	bystander.ready()
	w.kill()
	b.Ended(w.pid)
	found := b.next(10)
	for i := range 10 {
		f := found[fmt.Sprint(p, i)]
		want := Removed
		if i == 3 {
			want = Kept
		}
		require.Equal(t, want, f.Action, "%+v", f)
		require.Equal(t, SharedMemory, f.Kind)
		require.Equal(t, w.pid, f.PID)
		require.Equal(t, int64(100000), f.Size)
	}
	require.Equal(t, []string{p + "10", p + "3", p + "seg0", "sem." + p + "0"}, names(t, p))
	require.Equal(t, 1, b.Counters().Pending)

	bystander.kill()
	f := b.next(1)[p+"3"]
	require.Equal(t, Removed, f.Action, f.Why)
	foreign.kill()
	b.none()
	require.Equal(t, []string{p + "10", p + "seg0", "sem." + p + "0"}, names(t, p))
	c := b.Counters()
	require.Equal(t, uint64(10), c.Removed)
	require.Zero(t, c.Pending)
	require.Zero(t, c.Errors)
}

func names(t testing.TB, p string) []string {
	t.Helper()
	found, err := filepath.Glob(shm + "*" + p + "*")
	require.NoError(t, err)
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found
}

func TestModes(t *testing.T) {
	for _, mode := range []Mode{Never, Report, Remove} {
		t.Run(string(mode), func(t *testing.T) {
			require.NoError(t, mode.Validate())
			b := newBed(t, nil).proven()
			p := prefix(t)
			w := script(t, "make "+shm+p+"a 8192")
			b.Watch(w.pid, mode)
			w.ready()
			w.kill()
			b.Ended(w.pid)
			switch mode {
			case Never:
				b.none()
				require.Len(t, names(t, p), 1)
			case Report:
				require.Equal(t, Finding{w.pid, SharedMemory, p + "a", 8192, Reported, "adopt: report"}, b.next(1)[p+"a"])
				require.Len(t, names(t, p), 1)
			case Remove:
				require.Equal(t, Removed, b.next(1)[p+"a"].Action)
				require.Empty(t, names(t, p))
			}
			b.none()
		})
	}
	require.ErrorContains(t, Mode("perhaps").Validate(), `"perhaps"`)
}

func TestSemaphoreAsLibcMakesIt(t *testing.T) {
	b := newBed(t, nil).proven()
	p := prefix(t)
	w := script(t, "link "+shm+p+"tmp "+shm+"sem."+p+"s")
	b.Watch(w.pid, Remove)
	w.ready()
	w.kill()
	b.Ended(w.pid)
	f := b.next(1)["sem."+p+"s"]
	require.Equal(t, Removed, f.Action, f.Why)
	require.Equal(t, Semaphore, f.Kind)
	require.Empty(t, names(t, p))
}

// A worker that dies before anybody could look at it is known all the same.
func TestDiesAtOnce(t *testing.T) {
	b := newBed(t, nil).proven()
	p := prefix(t)
	var made []string
	for i := range 20 {
		w := script(t, "touch "+shm+p+fmt.Sprint(i))
		w.ready()
		b.Watch(w.pid, Remove) // late: it has made it already
		w.kill()
		b.Ended(w.pid)
		made = append(made, p+fmt.Sprint(i))
	}
	found := b.next(len(made))
	for _, name := range made {
		require.Equal(t, Removed, found[name].Action)
	}
	require.Empty(t, names(t, p))
}

// Somebody else removed the worker's object and made another of that name.
func TestNameTakenOver(t *testing.T) {
	b := newBed(t, nil).proven()
	p := prefix(t)
	w := script(t, "make "+shm+p+"a 4096", "make "+shm+p+"b 4096")
	b.Watch(w.pid, Remove)
	w.ready()
	foreign := script(t, "unlink "+shm+p+"a", "touch "+shm+p+"a", "touch "+shm+p+"c", "rename "+shm+p+"c "+shm+p+"b")
	foreign.ready()
	foreign.kill()
	w.kill()
	b.Ended(w.pid)
	b.none()
	require.Equal(t, []string{p + "a", p + "b"}, names(t, p))
}

// A rename is followed; only if nobody could look in between, it is not known
// what was renamed.
func TestRenamedByTheWorker(t *testing.T) {
	b := newBed(t, nil).proven()
	p := prefix(t)
	w := script(t, "make "+shm+p+"a 4096", "wait", "rename "+shm+p+"a "+shm+p+"b",
		"make "+shm+p+"c 4096", "rename "+shm+p+"c "+shm+p+"d")
	b.Watch(w.pid, Remove)
	w.ready()
	b.Reconcile()
	_, err := w.in.Write([]byte{0})
	require.NoError(t, err)
	w.ready()
	w.kill()
	b.Ended(w.pid)
	found := b.next(2)
	require.Equal(t, Removed, found[p+"b"].Action)
	if f := found[p+"d"]; f.Action != Removed {
		require.Equal(t, Kept, f.Action)
		require.Contains(t, f.Why, "renamed")
	}
}

// A child of the worker makes an object and outlives it.
func TestChild(t *testing.T) {
	b := newBed(t, nil).proven()
	p := prefix(t)
	w := script(t, "child make "+shm+p+"a 4096")
	b.Watch(w.pid, Remove)
	w.ready()
	_ = w.cmd.Process.Kill()
	_, _ = w.cmd.Process.Wait()
	b.Ended(w.pid)
	require.Equal(t, Kept, b.next(1)[p+"a"].Action)
	w.in.Close() // the child reads on it to the end
	require.Equal(t, Removed, b.next(1)[p+"a"].Action)
}

// The worker gives a foreign object a name, and the old name goes: the object is
// not the worker's for that.
func TestLinkToAnOlderObject(t *testing.T) {
	p := prefix(t)
	require.NoError(t, os.WriteFile(shm+p+"foreign", []byte("x"), 0o600))
	require.Eventually(t, func() bool { return olderThanTicks(t, shm+p+"foreign", 4) }, waitFor, tick)
	b := newBed(t, nil).proven() // nobody told it who made that
	w := script(t, "hardlink "+shm+p+"foreign "+shm+p+"mine")
	b.Watch(w.pid, Remove)
	w.ready()
	require.NoError(t, os.Remove(shm+p+"foreign"))
	w.kill()
	b.Ended(w.pid)
	f := b.next(1)[p+"mine"]
	require.Equal(t, Kept, f.Action)
	require.Contains(t, f.Why, "older than the worker")
	require.Equal(t, []string{p + "mine"}, names(t, p))
}

func olderThanTicks(t testing.TB, path string, n int64) bool {
	t.Helper()
	id, _, _, err := lookAt(unix.AT_FDCWD, path, 0)
	require.NoError(t, err)
	return id.born < fileTime()-n*tickLength
}

// A second name means that somebody wants it.
func TestSecondName(t *testing.T) {
	b := newBed(t, nil).proven()
	p := prefix(t)
	w := script(t, "make "+shm+p+"a 4096")
	b.Watch(w.pid, Remove)
	w.ready()
	b.Reconcile()
	require.NoError(t, os.Link(shm+p+"a", shm+p+"b"))
	w.kill()
	b.Ended(w.pid)
	for _, f := range b.next(1) {
		require.Equal(t, Kept, f.Action, f.Why)
	}
	require.Len(t, names(t, p), 2)
}

// Without the privilege things are seen and reported, and nothing is removed.
func TestUnprivileged(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Unprivileged = true })
	p := prefix(t)
	w := script(t, "make "+shm+p+"a 4096", "open "+shm)
	b.Watch(w.pid, Remove)
	w.ready()
	b.Reconcile() // the search is done
	objects, bytes := b.Usage(w.pid)
	require.Equal(t, 1, objects)
	require.Equal(t, int64(4096), bytes)
	w.kill()
	b.Ended(w.pid)
	f := b.next(1)[p+"a"]
	require.Equal(t, Kept, f.Action)
	require.True(t, strings.HasPrefix(f.Why, "not proven"), f.Why)
	require.Len(t, names(t, p), 1)
	require.Equal(t, uint64(1), b.Counters().Unproven)
}

func TestSystemV(t *testing.T) {
	if _, err := os.Stat("/proc/sysvipc/shm"); err != nil {
		t.Skip("the kernel has no System V segments")
	}
	b := newBed(t, nil)
	w := script(t, "sysv 4096", "sysv 8192")
	b.Watch(w.pid, Remove)
	printed := w.ready()
	id := func(line string) string { return strings.TrimPrefix(line, "id ") }
	b.Reconcile()
	objects, bytes := b.Usage(w.pid)
	require.Equal(t, 2, objects)
	require.Equal(t, int64(12288), bytes)
	bystander := script(t, "attach "+id(printed[1]))
	bystander.ready()
	w.kill()
	b.Ended(w.pid)
	found := b.next(2)
	require.Equal(t, Removed, found["shmid:"+id(printed[0])].Action)
	require.Equal(t, Kept, found["shmid:"+id(printed[1])].Action)
	bystander.kill()
	require.Equal(t, 1, b.Reconcile())
	require.Equal(t, Removed, b.next(1)["shmid:"+id(printed[1])].Action)
}
