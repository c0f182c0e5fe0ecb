package shmregistry_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"understudy/shmregistry"
	"understudy/shmregistry/segment"
)

// The test binary is also the processes that the tests need: a name in this
// variable says which.
const roleVariable = "SHMREGISTRY_TEST_ROLE"

// roles stand beside the tests that need them.
var roles = map[string]func(){"sleeper": sleeper, "churner": churner, "mapper": mapper}

func TestMain(m *testing.M) {
	if err := intoOwnMounts(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if role, is := roles[os.Getenv(roleVariable)]; is {
		role()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// role is this program in another part, with more in its environment.
func role(name string, env ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), append(env, roleVariable+"="+name)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// sleeper lives until its standard input ends, with what it was given open.
func sleeper() {
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// mapper is a sleeper that keeps its first segment mapped, and no descriptor of
// it.
func mapper() {
	s, err := segment.Map(3)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mapper:", err)
		os.Exit(3)
	}
	_ = unix.Close(3)
	fmt.Println("ready")
	sleeper()
	_ = s.Close()
}

// worker is a process that has been given descriptors, as a worker has.
type worker struct {
	cmd   *exec.Cmd
	owner shmregistry.Owner
}

// startWorker starts one; the test's end kills it.
func startWorker(t *testing.T, prepared ...shmregistry.Prepared) *worker {
	t.Helper()
	return startRole(t, role("sleeper"), prepared...)
}

func startRole(t *testing.T, cmd *exec.Cmd, prepared ...shmregistry.Prepared) *worker {
	t.Helper()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	for _, p := range prepared {
		fd, err := unix.FcntlInt(uintptr(p.FD), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
		f := os.NewFile(uintptr(fd), p.Name)
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	require.NoError(t, cmd.Start())
	w := &worker{cmd: cmd}
	t.Cleanup(func() { w.kill(); _ = in.Close() })
	w.owner, err = shmregistry.OwnerOf(cmd.Process.Pid)
	require.NoError(t, err)
	return w
}

// kill kills it by SIGKILL and reaps it.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}

// place is a state directory and a directory for named segments, both the
// test's own.
type place struct{ state, shm string }

// newPlace makes one; the named segments lie on a tmpfs, as they do in earnest.
func newPlace(t testing.TB) place {
	t.Helper()
	shm, err := os.MkdirTemp(shmregistry.DefaultShmDir, "shmregistry-test-")
	if err != nil {
		t.Skipf("no directory can be made in %s: %v", shmregistry.DefaultShmDir, err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(shm) })
	return place{state: t.TempDir(), shm: shm}
}

func (p place) config() shmregistry.Config {
	return shmregistry.Config{StateDir: p.state, ShmDir: p.shm}
}

// open opens the registry there until the test ends.
func (p place) open(t testing.TB) *shmregistry.Registry {
	t.Helper()
	r, err := shmregistry.Open(p.config())
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// names lists the directory for named segments.
func (p place) names(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(p.shm)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		if !e.IsDir() { // that of second names
			names = append(names, e.Name())
		}
	}
	return names
}

// mustPrepare prepares and maps; the mappings end with the test.
func mustPrepare(t testing.TB, r *shmregistry.Registry, binding string, epoch uint64, specs ...shmregistry.Spec) ([]shmregistry.Prepared, []*segment.Segment) {
	t.Helper()
	prepared, err := r.Prepare(binding, epoch, specs)
	require.NoError(t, err)
	require.Len(t, prepared, len(specs))
	var mapped []*segment.Segment
	for i, p := range prepared {
		require.Equal(t, specs[i].Name, p.Name)
		require.Equal(t, specs[i].Size, p.Size)
		s, err := segment.Map(p.FD)
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		mapped = append(mapped, s)
	}
	return prepared, mapped
}

// states are the entries in short: name, epoch, state.
func states(entries []shmregistry.Entry) string {
	var all []string
	for _, e := range entries {
		named := ""
		if e.Path != "" {
			named = "+"
		}
		all = append(all, e.Segment+named+":"+string(rune('0'+e.Epoch))+":"+string(e.State))
	}
	return strings.Join(all, " ")
}

var (
	work    = shmregistry.Spec{Name: "work", Size: 8000, OnDeath: shmregistry.Handover}
	scratch = shmregistry.Spec{Name: "scratch", Size: 5000, OnDeath: shmregistry.Unlink}
	shared  = shmregistry.Spec{Name: "shared", Size: 8000, OnDeath: shmregistry.Handover, Named: true}
	window  = shmregistry.Spec{Name: "window", Size: 5000, OnDeath: shmregistry.Unlink, Named: true}
)
