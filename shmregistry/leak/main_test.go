package leak

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const part = "UNDERSTUDY_LEAK_TEST"

// TestMain is also the program of every process that a test needs: a list of
// commands, each done in turn, then "ready", then a wait for the end of input.
func TestMain(m *testing.M) {
	if script := os.Getenv(part); script != "" {
		for line := range strings.SplitSeq(script, ";") {
			if err := act(strings.Fields(line)); err != nil {
				fmt.Println(line+":", err)
				os.Exit(1)
			}
		}
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func act(words []string) error {
	if len(words) == 0 {
		return nil
	}
	switch words[0] {
	case "make": // path size: made, mapped, descriptor closed
		size, _ := strconv.Atoi(words[2])
		fd, err := unix.Open(words[1], unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		if err := unix.Ftruncate(fd, int64(size)); err != nil {
			return err
		}
		if _, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			return err
		}
		return unix.Close(fd)
	case "touch": // path: made and closed
		fd, err := unix.Open(words[1], unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	case "open": // path: read-only descriptor
		_, err := unix.Open(words[1], unix.O_RDONLY, 0)
		return err
	case "map": // path: mapping only
		fd, err := unix.Open(words[1], unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
		unix.Close(fd)
		return err
	case "link": // temporary, name: as sem_open(3) of glibc makes a semaphore
		if err := act([]string{"make", words[1], "32"}); err != nil {
			return err
		}
		if err := os.Link(words[1], words[2]); err != nil {
			return err
		}
		return os.Remove(words[1])
	case "wait": // says ready, and goes on after a byte
		fmt.Println("ready")
		_, err := os.Stdin.Read(make([]byte, 1))
		return err
	case "hardlink":
		return os.Link(words[1], words[2])
	case "rename":
		return os.Rename(words[1], words[2])
	case "unlink":
		return os.Remove(words[1])
	case "mq": // name: made and kept open
		return mqOpen(words[1])
	case "sysv": // size; prints the id
		size, _ := strconv.Atoi(words[1])
		id, err := unix.SysvShmGet(unix.IPC_PRIVATE, size, unix.IPC_CREAT|0o600)
		fmt.Println("id", id)
		return err
	case "attach":
		id, _ := strconv.Atoi(words[1])
		_, err := unix.SysvShmAttach(id, 0, 0)
		return err
	case "child": // the rest is done by a child of ours, which stays
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), part+"="+strings.ReplaceAll(strings.Join(words[1:], " "), "|", ";"))
		cmd.Stdin = os.Stdin
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		_, err = bufio.NewReader(out).ReadString('\n')
		return err
	}
	return fmt.Errorf("what is %s", words[0])
}

func mqOpen(name string) error {
	b, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	return mqOpenRaw(b)
}

// process is a real one. It is a group leader, as workers are.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	pid int
}

func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.Stderr = os.Stderr
	var err error
	p.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	p.out = bufio.NewReader(out)
	require.NoError(t, cmd.Start())
	p.pid = cmd.Process.Pid
	t.Cleanup(p.kill)
	return p
}

// script is a process that does these things; it is not waited for.
func script(t testing.TB, lines ...string) *process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), part+"="+strings.Join(lines, ";"))
	return start(t, cmd)
}

// ready waits until all is done, and returns what was printed before.
func (p *process) ready() (printed []string) {
	p.t.Helper()
	for {
		line, err := p.out.ReadString('\n')
		require.NoError(p.t, err, "the process ended early: %s", printed)
		if line = strings.TrimSpace(line); line == "ready" {
			return printed
		}
		printed = append(printed, line)
	}
}

// kill kills and reaps the process alone, not its group.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	p.in.Close()
	_ = p.cmd.Wait()
}

// bed is a finder with what it found.
type bed struct {
	*Finder
	t        testing.TB
	findings chan Finding
}

func newBed(t testing.TB, change func(*Config)) *bed {
	t.Helper()
	b := &bed{t: t, findings: make(chan Finding, 1000)}
	cfg := Config{OnFinding: func(f Finding) { b.findings <- f }}
	if change != nil {
		change(&cfg)
	}
	f, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(f.Close)
	b.Finder = f
	for _, line := range f.Sources() {
		t.Log(line)
	}
	return b
}

// next waits for so many findings and returns them by name.
func (b *bed) next(n int) map[string]Finding {
	b.t.Helper()
	out := map[string]Finding{}
	deadline := time.After(10 * time.Second)
	for range n {
		select {
		case f := <-b.findings:
			require.NotContains(b.t, out, f.Name, "%+v beside %+v", f, out[f.Name])
			out[f.Name] = f
		case <-deadline:
			require.Failf(b.t, "too few findings", "%d of %d: %+v", len(out), n, out)
		}
	}
	return out
}

// none asserts that all that was asked is done and nothing more was found.
func (b *bed) none() {
	b.t.Helper()
	b.Reconcile() // comes behind all that was asked
	select {
	case f := <-b.findings:
		require.Failf(b.t, "unexpected", "%+v", f)
	default:
	}
}

// proven skips where the kernel does not tell who made shared memory.
func (b *bed) proven() *bed {
	b.t.Helper()
	if !b.loop.dirs[0].watch.names() {
		b.t.Skip(b.Sources())
	}
	if b.loop.unsafe != "" {
		b.t.Skip(b.loop.unsafe)
	}
	return b
}

// How long and how often a test looks for what tells nobody of its coming.
const (
	waitFor = 10 * time.Second
	tick    = 5 * time.Millisecond
)

// prefix of names in /dev/shm that are this test's alone; what is left of them
// is removed at the end.
func prefix(t testing.TB) string {
	p := fmt.Sprintf("leaktest-%d-%s-", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
	t.Cleanup(func() {
		entries, _ := os.ReadDir("/dev/shm")
		for _, e := range entries {
			if strings.HasPrefix(strings.TrimPrefix(e.Name(), "sem."), p) {
				os.Remove("/dev/shm/" + e.Name())
			}
		}
	})
	return p
}
