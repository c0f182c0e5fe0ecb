package sentinel

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const busy = 50

// counters is what the busy threads of a process write, shared with the test.
type counters []atomic.Uint64

func (c counters) sum() (n uint64) {
	for i := range c {
		n += c[i].Load()
	}
	return n
}

// inMemory is a folder whose files are in memory, where there is one: how long a
// disk takes for a core dump is not what is tested.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sentinel-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// runBusy starts a process with 50 busy threads and so much memory.
func runBusy(t *testing.T, mb int) (*process, counters, string) {
	t.Helper()
	dir := inMemory(t)
	f, err := os.Create(filepath.Join(dir, "counters"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(int64(os.Getpagesize())))
	b, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Munmap(b) })
	p := run(t, "busy", func(cmd *exec.Cmd) {
		cmd.Dir = dir // for the core
		cmd.ExtraFiles = []*os.File{f}
		cmd.Env = append(cmd.Env, fmt.Sprintf("THREADS=%d", busy), fmt.Sprintf("BALLAST=%d", mb))
	})
	return p, unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&b[0])), busy), dir
}

// No thread does anything after the fence, and the fence does not wait for the
// memory to be freed.
func TestNothingIsWrittenAfterTheFence(t *testing.T) {
	s := start(t, Options{Source: SourceKernel, Realtime: true})
	p, c, _ := runBusy(t, 64)
	var atFence uint64
	require.NoError(t, s.Watch(p.pid, p.pidfd, func(n Notice) {
		if n.Kind == Fenced {
			atFence = c.sum()
		}
		p.notices <- n
	}))
	p.kill(unix.SIGKILL)
	all := p.death()
	require.Equal(t, []Kind{Doomed, Fenced, Exited}, kinds(all))
	require.NotZero(t, atFence)
	require.Equal(t, atFence, c.sum())
	require.Less(t, all[1].At, all[2].Seen)
}

// A process is doomed before its core is written, fenced after it, and the
// core is whole.
func TestCoreDumpIsWrittenAfterTheNotice(t *testing.T) {
	const mb = 32
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	require.NoError(t, err)
	toDirectory := !strings.HasPrefix(string(pattern), "|") && !strings.Contains(string(pattern), "/")
	each(t, func(t *testing.T, s *Sentinel) {
		p, c, dir := runBusy(t, mb)
		p.tell()
		require.Equal(t, "deadly", p.line())
		sizeThen := int64(-1)
		var atFence uint64
		var demoted, promoted uint32 // policies of the thread that dumps
		var member error
		require.NoError(t, s.Watch(p.pid, p.pidfd, func(n Notice) {
			switch n.Kind {
			case Doomed:
				sizeThen = coreSize(dir)
				member = unix.Tgkill(p.pid, n.Dumper, 0)
				DemoteDumper(n.Dumper)
				demoted = policy(n.Dumper)
				PromoteDumper(p.pid, n.Dumper)
				promoted = policy(n.Dumper)
			case Fenced:
				atFence = c.sum()
			}
			p.notices <- n
		}))
		p.kill(unix.SIGSEGV)
		all := p.death()
		st := p.reap()
		require.Equal(t, unix.SIGSEGV, st.Signal)
		if !toDirectory {
			t.Logf("cores go elsewhere (core_pattern %q): not looked at", pattern)
		} else if !st.CoreDumped {
			t.Log("this user's hard limit forbids a core")
		}
		if s.source != SourcePidfd {
			require.Equal(t, Doomed, all[0].Kind)
			if st.CoreDumped && toDirectory {
				require.Less(t, sizeThen, int64(mb<<20/2), "the core was there before the notice")
				require.NoError(t, member)
				require.Equal(t, uint32(unix.SCHED_IDLE), demoted)
				if has(unix.CAP_SYS_NICE) {
					require.Equal(t, uint32(unix.SCHED_NORMAL), promoted)
				}
			}
		}
		if s.source == SourceKernel {
			require.Equal(t, []Kind{Doomed, Fenced, Exited}, kinds(all))
			require.Equal(t, int(unix.SIGSEGV), all[0].Signal)
			require.Equal(t, atFence, c.sum())
		}
		if st.CoreDumped && toDirectory {
			requireWholeCore(t, dir, mb<<20)
		}
	})
}

func policy(thread int) uint32 {
	attr, err := unix.SchedGetAttr(thread, 0)
	if err != nil {
		return 99
	}
	return attr.Policy
}

func coreFile(dir string) string {
	found, _ := filepath.Glob(filepath.Join(dir, "core*"))
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// coreSize is what is on disk of the core, which is written sparsely.
func coreSize(dir string) int64 {
	var st unix.Stat_t
	if unix.Stat(coreFile(dir), &st) != nil {
		return 0
	}
	return st.Blocks * 512
}

func requireWholeCore(t *testing.T, dir string, ballast int64) {
	t.Helper()
	f, err := elf.Open(coreFile(dir))
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, elf.ET_CORE, f.Type)
	st, err := os.Stat(coreFile(dir))
	require.NoError(t, err)
	total := int64(0)
	for _, segment := range f.Progs {
		require.LessOrEqual(t, int64(segment.Off+segment.Filesz), st.Size(), "cut short")
		total += int64(segment.Filesz)
	}
	require.Greater(t, total, ballast)
	require.Greater(t, coreSize(dir), ballast)
}
