package shmregistry_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/shmregistry"
)

// A test of a full or read-only file system runs again in a mount namespace of
// its own, with small file systems that nobody else sees: this variable is then
// their place.
const mountsVariable = "SHMREGISTRY_TEST_MOUNTS"

// intoOwnMounts makes the small file systems, where this process was started
// for that.
func intoOwnMounts() error {
	base := os.Getenv(mountsVariable)
	if base == "" {
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	for _, m := range []struct{ dir, options string }{{"state", "size=256k"}, {"shm", "size=1m"}} {
		if err := unix.Mount("tmpfs", filepath.Join(base, m.dir), "tmpfs", 0, "mode=0700,"+m.options); err != nil {
			return fmt.Errorf("mounting a small file system: %w", err)
		}
	}
	return nil
}

// inOwnMounts runs the calling test again with small file systems: 256 KiB for
// state, 1 MiB for segments. It returns false where it did so, and the caller
// is done; in the second run it returns the place.
func inOwnMounts(t *testing.T) (place, bool) {
	t.Helper()
	if base := os.Getenv(mountsVariable); base != "" {
		return place{state: filepath.Join(base, "state"), shm: filepath.Join(base, "shm")}, true
	}
	base := t.TempDir()
	for _, dir := range []string{"state", "shm"} {
		require.NoError(t, os.Mkdir(filepath.Join(base, dir), 0o700))
	}
	isolate := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if os.Getuid() != 0 {
		isolate.Cloneflags |= unix.CLONE_NEWUSER
		isolate.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		isolate.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	run := func(pattern string) ([]byte, error) {
		cmd := exec.Command("/proc/self/exe", "-test.run", pattern, "-test.v")
		cmd.Env = append(os.Environ(), mountsVariable+"="+base)
		cmd.SysProcAttr = isolate
		return cmd.CombinedOutput()
	}
	if out, err := run("^$"); err != nil {
		t.Skipf("no mount namespace with small file systems can be made here: %v\n%s", err, out)
	}
	out, err := run("^" + t.Name() + "$")
	require.NoError(t, err, string(out))
	return place{}, false
}

// fill leaves no room in the file system at dir, until the returned function is
// called.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, f.Close())
	return func() { require.NoError(t, os.Remove(name)) }
}

func TestAFullDisk(t *testing.T) {
	p, inside := inOwnMounts(t)
	if !inside {
		return
	}
	r := p.open(t)
	mustPrepare(t, r, "b", 1, shared)
	require.NoError(t, r.Sync())
	file := filepath.Join(p.state, shmregistry.FileName)
	before, err := os.ReadFile(file)
	require.NoError(t, err)

	free := fill(t, p.state)
	mustPrepare(t, r, "b", 2, shared, window, work) // goes on in memory
	require.ErrorIs(t, r.Sync(), unix.ENOSPC)
	totals := r.Totals()
	require.NotZero(t, totals.WriteFailures)
	require.Contains(t, totals.LastWriteError, "no space left")
	require.Len(t, r.List(), 3)
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after), "the last whole file stays")
	require.ErrorIs(t, r.Close(), unix.ENOSPC)

	r, err = shmregistry.Open(p.config()) // starts with a full disk, too
	require.NoError(t, err)
	defer r.Close()
	require.Len(t, r.List(), 2)
	free()
	// Nothing changes and nobody asks: it is tried again.
	require.Eventually(t, func() bool { return r.Totals().LastWriteError == "" }, 10*time.Second, 50*time.Millisecond)
	onDisk, err := shmregistry.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, r.List(), onDisk)
}

func TestAStateDirectoryThatCannotBeWritten(t *testing.T) {
	p, inside := inOwnMounts(t)
	if !inside {
		return
	}
	r := p.open(t)
	// A file open for writing keeps a file system from becoming read-only, so
	// another is put over it.
	cover := func() { require.NoError(t, unix.Mount("tmpfs", p.state, "tmpfs", unix.MS_RDONLY, "mode=0700")) }
	uncover := func() { require.NoError(t, unix.Unmount(p.state, 0)) }
	cover()
	mustPrepare(t, r, "b", 1, shared, work)
	require.ErrorIs(t, r.Sync(), unix.EROFS)
	require.Len(t, r.List(), 2)
	uncover()
	require.NoError(t, r.Sync())
	require.NoError(t, r.Close())

	cover()
	_, err := shmregistry.Open(p.config())
	require.ErrorIs(t, err, unix.EROFS)
	require.ErrorContains(t, err, p.state)
}

func TestAFullSharedMemoryDirectory(t *testing.T) {
	p, inside := inOwnMounts(t)
	if !inside {
		return
	}
	r := p.open(t)
	large := shmregistry.Spec{Name: "large", Size: 900 << 10, OnDeath: shmregistry.Handover, Named: true}
	_, err := r.Prepare("a", 1, []shmregistry.Spec{large})
	require.NoError(t, err)
	_, err = r.Prepare("b", 1, []shmregistry.Spec{work, window, large})
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, `segments of b: "large": making `+p.shm)
	require.Equal(t, "large+:1:prepared", states(r.List()), "nothing is left of those before it")
	require.Len(t, p.names(t), 1)
	_, bytes := r.Usage("b")
	require.Zero(t, bytes)

	r.Remove("a")
	require.Eventually(t, func() bool { // its memory is given back beside the caller
		_, err := r.Prepare("b", 1, []shmregistry.Spec{work, window, large})
		return err == nil
	}, 10*time.Second, time.Millisecond)
}
