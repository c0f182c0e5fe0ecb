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
	doomFD    = 4
)

// passedThrough is what a worker inherits of our environment: nothing else of
// ours is its business.
var passedThrough = []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "USER", "LOGNAME", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// process is a worker's process just made, and our ends of its descriptors.
type process struct {
	pid            int
	pidfd          *os.File
	control        *os.File
	doom           *os.File
	stdout, stderr *os.File
}

func (p *process) close() {
	for _, f := range []*os.File{p.pidfd, p.control, p.doom, p.stdout, p.stderr} {
		if f != nil {
			f.Close()
		}
	}
}

// spawn makes the process: own process group, pidfd from clone, control socket,
// doom socket, output pipes. It blocks for fork and exec, so it runs off the loop.
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
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return p, fmt.Errorf("doom socket: %w", err)
		}
		// Each end has flags and a queue of its own, so nothing that the worker
		// does to its end holds up the engine. Ours is a file that blocks: the
		// runtime would poll another, and wake us for what a worker sends. A
		// datagram socket, since the supervisor's end tells the heir nothing.
		p.doom = os.NewFile(uintptr(pair[0]), "doom socket")
		theirEnd := os.NewFile(uintptr(pair[1]), "doom socket")
		theirs = append(theirs, theirEnd)
		files = append(files, theirEnd.Fd())
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
		env = append(env, fmt.Sprintf("UNDERSTUDY_FENCE_FD=%d", doomFD))
	}
	for k, v := range m.Environment {
		env = append(env, k+"="+v)
	}
	return env
}
