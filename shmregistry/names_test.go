package shmregistry_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/shmregistry"
)

const (
	testTimeout = 20 * time.Second
	testTick    = 2 * time.Millisecond
)

// Names are made of what shm_open and the trackers of language runtimes take, and
// are short whatever they are made of; no two segments share one.
func TestNamesThatOpenersTake(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	long := strings.Repeat("n", shmregistry.MaxName)
	specs := []shmregistry.Spec{window, shared}
	for _, name := range []string{long, long[:shmregistry.MaxName-1]} {
		specs = append(specs, shmregistry.Spec{Name: name, Size: 10, OnDeath: shmregistry.Handover, Named: true})
	}
	bindings := []string{"shared:echo", "ns:a:echo", "ns-a-echo", "ns:a.b@c+=:echo", "session:a/b:echo", "session:a-b:echo",
		"session:" + strings.Repeat("s", 128) + ":echo", "session:" + strings.Repeat("s", 127) + ":echo", "ns:ü\n:echo"}
	for _, b := range bindings {
		mustPrepare(t, r, b, 1<<64-2, specs...)
	}
	names := p.names(t)
	require.Len(t, names, len(bindings)*len(specs))
	for _, name := range names {
		require.Regexp(t, `^[a-zA-Z0-9._-]{1,96}$`, name)
	}
	before := r.List()
	require.NoError(t, r.Close())
	require.NoError(t, os.Remove(filepath.Join(p.state, shmregistry.FileName)))
	after := p.open(t).List()
	require.Len(t, after, len(before))
	for i := range after {
		require.Equal(t, before[i].Binding, after[i].Binding, "the segment itself says whose it is")
		require.Equal(t, before[i].Segment, after[i].Segment)
		require.Equal(t, before[i].Path, after[i].Path)
	}
}

// repairs collects what a registry tells.
func repairs(cfg *shmregistry.Config) <-chan shmregistry.Repair {
	told := make(chan shmregistry.Repair, 100)
	cfg.OnRepair = func(r shmregistry.Repair) { told <- r }
	return told
}

func nextRepair(t *testing.T, told <-chan shmregistry.Repair) shmregistry.Repair {
	t.Helper()
	select {
	case r := <-told:
		return r
	case <-time.After(testTimeout):
		require.FailNow(t, "no repair was told")
		return shmregistry.Repair{}
	}
}

func (p place) openTold(t *testing.T) (*shmregistry.Registry, <-chan shmregistry.Repair) {
	t.Helper()
	cfg := p.config()
	told := repairs(&cfg)
	r, err := shmregistry.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r, told
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Lstat(path, &st))
	return st.Ino
}

// A name that an opener removes is there again, at once and for the same file,
// without a pass of Reconcile.
func TestARemovedNameIsThereAgain(t *testing.T) {
	p := newPlace(t)
	r, told := p.openTold(t)
	_, mapped := mustPrepare(t, r, "b", 1, shared, window)
	r.Activated("b", 1, startWorker(t).owner)
	copy(mapped[0].Data(), "kept")
	for n, take := range []func(path string) error{
		os.Remove,
		os.Remove,
		func(path string) error { return os.Rename(path, path+".away") },
	} {
		for i, e := range r.List() {
			was := inode(t, e.Path)
			require.NoError(t, take(e.Path))
			repair := nextRepair(t, told)
			require.Equal(t, shmregistry.NamedAgain, repair.Action)
			require.Equal(t, e.Segment, repair.Entry.Segment)
			require.Contains(t, repair.Why, e.Path)
			require.Equal(t, was, inode(t, e.Path))
			require.EqualValues(t, 2*n+i+1, r.Totals().NamesAgain)
		}
	}
	require.Equal(t, "shared+:1:active window+:1:active", states(r.List()))
	require.Zero(t, r.Reconcile(), "nothing was left to do")

	r.Died("b", 1)
	r.Remove("b")
	for _, name := range p.names(t) {
		require.True(t, strings.HasSuffix(name, ".away"), "%s came back after its end", name)
	}
}

// Another file under the name is left alone. The segment has its name again when
// that is gone.
func TestANameThatAnotherFileTook(t *testing.T) {
	p := newPlace(t)
	r, told := p.openTold(t)
	_, mapped := mustPrepare(t, r, "b", 1, shared)
	copy(mapped[0].Data(), "kept")
	path := r.List()[0].Path
	other := filepath.Join(p.shm, "other")
	require.NoError(t, os.WriteFile(other, []byte("another's"), 0o600))
	require.NoError(t, os.Rename(other, path))
	require.Equal(t, shmregistry.NameLost, nextRepair(t, told).Action)
	require.Equal(t, "shared:1:prepared", states(r.List()))
	require.EqualValues(t, 1, r.Totals().NamesLost)
	require.Zero(t, r.Reconcile(), "it is told once")
	_, again := mustPrepare(t, r, "b", 2, shared)
	require.Equal(t, "kept", string(again[0].Data()[:4]))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "another's", string(b))

	// A registry that is opened meanwhile has it by its second name.
	require.NoError(t, r.Close())
	r, told = p.openTold(t)
	require.Equal(t, "shared:1:stray", states(r.List()))
	require.NoError(t, os.Remove(path))
	require.Equal(t, 1, r.Reconcile())
	for nextRepair(t, told).Action != shmregistry.NamedAgain {
	}
	require.Equal(t, path, r.List()[0].Path)
	_, again = mustPrepare(t, r, "b", 2, shared)
	require.Equal(t, "kept", string(again[0].Data()[:4]))
}

// Without its second name, which nobody but the registry should touch, a name
// cannot be made again. That is told, and the segment goes on.
func TestANameThatIsLost(t *testing.T) {
	p := newPlace(t)
	r, _ := p.openTold(t)
	_, mapped := mustPrepare(t, r, "b", 1, shared)
	copy(mapped[0].Data(), "kept")
	seconds, err := filepath.Glob(filepath.Join(p.shm, "*", "*"))
	require.NoError(t, err)
	require.Len(t, seconds, 1)
	require.NoError(t, os.Remove(seconds[0]))
	require.Eventually(t, func() bool { _, err := os.Stat(seconds[0]); return err == nil }, testTimeout, testTick,
		"the second name is made again too")

	require.NoError(t, r.Close())
	require.NoError(t, os.RemoveAll(filepath.Dir(seconds[0])))
	r, told := p.openTold(t)
	require.FileExists(t, seconds[0])
	mustPrepare(t, r, "b", 1, shared)
	path := r.List()[0].Path
	require.NoError(t, os.WriteFile(seconds[0]+"x", nil, 0o600)) // so that the folder is found as it is
	removeBoth(t, path, seconds[0])
	for nextRepair(t, told).Action != shmregistry.NameLost {
	}
	require.Equal(t, "shared:1:prepared", states(r.List()))
	_, again := mustPrepare(t, r, "b", 2, shared)
	require.Equal(t, "kept", string(again[0].Data()[:4]))
	r.Remove("b")
	require.Empty(t, p.names(t))
}

// removeBoth removes two names of one file over and over, until both are gone:
// the registry makes each of them again as long as there is the other.
func removeBoth(t *testing.T, a, b string) {
	t.Helper()
	exists := func(path string) bool { _, err := os.Lstat(path); return err == nil }
	deadline := time.Now().Add(testTimeout)
	for exists(a) || exists(b) {
		_, _ = os.Remove(a), os.Remove(b)
		require.True(t, time.Now().Before(deadline))
	}
}

func TestRemovingFindsAForeignFileUnderItsName(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	mustPrepare(t, r, "b", 1, shared)
	path := r.List()[0].Path
	other := filepath.Join(p.shm, "other")
	require.NoError(t, os.WriteFile(other, []byte("another's"), 0o600))
	require.NoError(t, os.Rename(other, path))
	r.Remove("b")
	require.FileExists(t, path)
	require.EqualValues(t, 1, r.Totals().Foreign)

	_, err := r.Prepare("b", 1, []shmregistry.Spec{work, shared})
	require.ErrorIs(t, err, os.ErrExist)
	require.ErrorContains(t, err, path)
	require.Empty(t, r.List())
}

// Python's resource tracker removes the name of a segment that a program opened,
// when that program ends.
func TestPythonOpensAndItsTrackerRemoves(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	// The tracker looks in /dev/shm only.
	p := place{state: t.TempDir(), shm: shmregistry.DefaultShmDir}
	r, told := p.openTold(t)
	binding := "session:acme/" + strings.Repeat("long", 30) + ":echo"
	t.Cleanup(func() { r.Remove(binding) })
	_, mapped := mustPrepare(t, r, binding, 1, shared)
	copy(mapped[0].Data(), "from Go")
	path := r.List()[0].Path

	const program = `
import sys
from multiprocessing import shared_memory
m = shared_memory.SharedMemory(name=sys.argv[1])
print(bytes(m.buf[4096:4103]).decode())
m.close()
`
	for n := range 2 {
		out, err := exec.Command(python, "-c", program, filepath.Base(path)).CombinedOutput()
		require.NoError(t, err, string(out))
		require.Equal(t, "from Go", strings.SplitN(string(out), "\n", 2)[0], "the whole answer: %s", out)
		if n == 0 && !strings.Contains(string(out), "leaked shared_memory") {
			t.Skipf("this Python's tracker removes nothing: %s", out)
		}
		require.Equal(t, shmregistry.NamedAgain, nextRepair(t, told).Action)
		require.FileExists(t, path, fmt.Sprint("round ", n))
	}
}
