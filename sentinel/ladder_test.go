package sentinel

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestSourceNames(t *testing.T) {
	for s := SourceAuto; s <= SourcePidfd; s++ {
		got, err := ParseSource(s.String())
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
	got, err := ParseSource("")
	require.NoError(t, err)
	require.Equal(t, SourceAuto, got)
	_, err = ParseSource("rumour")
	require.ErrorContains(t, err, `unknown death source "rumour"`)
	require.Equal(t, "source(9)", Source(9).String())
	require.Equal(t, "kind(9)", Kind(9).String())
}

// The best source is taken, and what is not the best says why.
func TestStatusTellsTheRungAndWhy(t *testing.T) {
	s := start(t, Options{Realtime: true, LockMemory: false})
	status := s.Status()
	var names []string
	for _, f := range status {
		names = append(names, f.Name)
		t.Logf("%+v", f)
		require.NotEmpty(t, f.Name)
		require.NotEmpty(t, f.InUse)
		require.Equal(t, f.Best, f.Why == "", f)
	}
	require.Equal(t, []string{"death source", "core dumps", "real-time priority", "locked memory"}, names)
	low := start(t, Options{Source: SourcePidfd}).Status()[0]
	require.Equal(t, Feature{Name: "death source", InUse: "pidfd", Why: "kernel: not asked for; connector: not asked for"}, low)
}

// A kernel that has what the best rung needs gets it: no trial is so strict
// that it turns a good source down.
func TestTheBestSourceIsNotTurnedDown(t *testing.T) {
	if !has(unix.CAP_SYS_ADMIN) {
		t.Skip("kernel events need CAP_BPF and CAP_PERFMON")
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Skip(err)
	}
	hook, err := findExitHook(kernel, exitHooks)
	if err != nil {
		t.Skip(err)
	}
	f := start(t, Options{}).Status()[0]
	t.Logf("the fence is at %s", hook.name)
	require.Equal(t, Feature{Name: "death source", InUse: "kernel", Best: true}, f)
}

// Older kernels have no early tracepoint at the exit, but functions to attach
// to; they do the same here.
func TestEveryExitHook(t *testing.T) {
	for _, h := range exitHooks {
		t.Run(h.name, func(t *testing.T) {
			s := start(t, Options{Source: SourceKernel, hooks: []exitHook{h}})
			p := run(t, "exit")
			p.watch(s)
			p.tell()
			all := kinds(p.death())
			require.Equal(t, []Kind{Fenced, Exited}, all[len(all)-2:])
			p = tiny(t)
			p.watch(s)
			p.kill(unix.SIGKILL)
			require.Equal(t, []Kind{Doomed, Fenced, Exited}, kinds(p.death()))
		})
	}
}

// belated is a source whose notices come when the memory is gone, as those of
// the exit tracepoint do before Linux 6.16.
type belated struct{ *kernelEvents }

func (b belated) drain(take func(record)) {
	b.kernelEvents.drain(func(r record) {
		r.early = r.kind != Fenced
		take(r)
	})
}

func TestALateSourceIsRefused(t *testing.T) {
	k, err := openKernelEvents(ringSize, exitHooks)
	if err != nil {
		t.Skip(err)
	}
	defer k.close()
	require.NoError(t, try(k, kernelTrials))
	require.ErrorContains(t, try(belated{k}, kernelTrials), "fenced came after its memory was freed")
}

func TestASourceThatSaysNothingIsRefused(t *testing.T) {
	c, err := openConnector()
	if err != nil {
		t.Skip(err)
	}
	defer c.close()
	require.ErrorContains(t, try(c, kernelTrials), "no notice that it was fenced")
}

func TestNoHookIsAnError(t *testing.T) {
	_, err := New(Options{Source: SourceKernel, hooks: []exitHook{{"no_such_function", false}}})
	require.Error(t, err)
	if has(unix.CAP_BPF) {
		require.ErrorContains(t, err, "no hook at a process's exit")
	}
}

// inside runs some of these tests again in another process.
func inside(t *testing.T, tests string, attr *syscall.SysProcAttr) {
	t.Helper()
	// The binary may lie where only its owner can go.
	self, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer self.Close()
	cmd := exec.Command("/proc/self/exe", "-test.run="+tests, "-test.v")
	cmd.Path = fmt.Sprintf("/proc/self/fd/%d", self.Fd())
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp")
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
	require.Contains(t, string(out), "--- PASS")
}

const core = "^(TestEveryDeathIsToldOncePerStep|TestDeadAlreadyIsToldAtOnce|TestNoDeath|TestReap|TestStatusTellsTheRungAndWhy|TestCoreDumpIsWrittenAfterTheNotice)$"

func TestOrdinaryUser(t *testing.T) {
	if unix.Getuid() != 0 {
		t.Skip("the other tests run as an ordinary user already")
	}
	const nobody = 65534
	inside(t, core, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
}

func TestPIDNamespace(t *testing.T) {
	if !has(unix.CAP_SYS_ADMIN) {
		t.Skip("a PID namespace of one's own needs CAP_SYS_ADMIN")
	}
	inside(t, core, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID})
}
