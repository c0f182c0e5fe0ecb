package pool

import (
	"encoding/json"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"understudy/internal/control"
	"understudy/patterns"
)

// Descriptors of a worker, as docs/PROTOCOL.md promises them.
const (
	controlFD = 3
	fenceFD   = 4
)

// passedThrough is what a worker inherits of our environment: nothing else of
// ours is its business.
var passedThrough = []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "USER", "LOGNAME", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// process is a worker's process just made, and our ends of its descriptors.
type process struct {
	pid            int
	pidfd          *os.File
	control        *os.File
	fence          *os.File
	stdout, stderr *os.File
}

func (p *process) close() {
	for _, f := range []*os.File{p.pidfd, p.control, p.fence, p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// spawn makes the process: own process group, pidfd from clone, control socket,
// fence, output pipes. It blocks for fork and exec, so it runs off the loop.
func spawn(m *patterns.Manifest, name string) (p *process, err error) {
	p = &process{}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			p.close()
		}
	}()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return p, err
	}
	theirs = append(theirs, null)
	for _, ours := range []**os.File{&p.stdout, &p.stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return p, fmt.Errorf("output pipe: %w", err)
		}
		*ours = r
		theirs = append(theirs, w)
	}
	parent, child, err := control.Pair()
	if err != nil {
		return p, err
	}
	p.control = parent
	theirs = append(theirs, child)
	files := []uintptr{theirs[0].Fd(), theirs[1].Fd(), theirs[2].Fd(), theirs[3].Fd()}
	if m.Heir {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return p, fmt.Errorf("fence eventfd: %w", err)
		}
		// The runtime polls what does not block when it is made a file, and the
		// engine's write would wake the supervisor; what blocks would let a
		// worker that fills it hold up the engine. So first one, then the other.
		p.fence = os.NewFile(uintptr(fd), "fence")
		if err := unix.SetNonblock(fd, true); err != nil {
			return p, fmt.Errorf("fence eventfd: %w", err)
		}
		files = append(files, p.fence.Fd())
	}
	pidfd := -1
	pid, err := syscall.ForkExec(m.Program, append([]string{m.Program}, m.Args...), &syscall.ProcAttr{
		Dir:   m.Dir,
		Env:   environment(m, name),
		Files: files,
		Sys:   &syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd},
	})
	if err != nil {
		return p, fmt.Errorf("%s: %w", m.Program, err)
	}
	if pidfd < 0 { // a kernel before 5.4
		if pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil)
			return p, fmt.Errorf("pidfd: %w", err)
		}
	}
	p.pid, p.pidfd = pid, os.NewFile(uintptr(pidfd), "pidfd")
	return p, nil
}

func environment(m *patterns.Manifest, name string) []string {
	config, _ := json.Marshal(m.Config) // a map of strings always encodes
	var env []string
	for _, k := range passedThrough {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	env = append(env,
		fmt.Sprintf("UNDERSTUDY_CONTROL_FD=%d", controlFD),
		"UNDERSTUDY_PATTERN="+m.Name,
		"UNDERSTUDY_WORKER="+name,
		"UNDERSTUDY_CONFIG="+string(config),
	)
	if m.Heir {
		env = append(env, fmt.Sprintf("UNDERSTUDY_FENCE_FD=%d", fenceFD))
	}
	for k, v := range m.Environment {
		env = append(env, k+"="+v)
	}
	return env
}
