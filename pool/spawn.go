package pool

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/cgroup"
	"understudy/internal/control"
	"understudy/internal/fault"
	"understudy/internal/pace"
	"understudy/patterns"
)

// Descriptors of a worker, as docs/PROTOCOL.md promises them.
const (
	controlFD = 3
	doomFD    = 4
)

const (
	// groupTimeout bounds the wait for the end of what was killed in a group.
	groupTimeout = 10 * time.Second
	// heirTimeout is how long a heir may go on in its dead worker's group.
	heirTimeout = 150 * time.Millisecond
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
	// group is its control group, and procs that group's cgroup.procs; nil
	// without one.
	group *cgroup.Group
	procs *os.File
	// badOOM is why it has not the OOM score that its manifest says.
	badOOM error
}

func (p *process) close() {
	for _, f := range []*os.File{p.pidfd, p.control, p.doom, p.stdout, p.stderr, p.procs} {
		if f != nil {
			f.Close()
		}
	}
	if p.group != nil {
		_ = p.group.Remove(groupTimeout)
	}
}

// surroundings is what every worker of a keeper is started with.
type surroundings struct {
	groups   *cgroup.Tree // nil: no control groups
	instance string
	pace     pace.Switches
}

// spawn makes the process: own process group, pidfd from clone, control socket,
// doom socket, output pipes. It blocks for fork and exec, so it runs off the loop.
func spawn(m *patterns.Manifest, name string, id uint64, s surroundings) (p *process, err error) {
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
		if err := fault.Error(fault.SpawnDoom); err != nil {
			return p, fmt.Errorf("doom socket: %w", err)
		}
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
	sys := &syscall.SysProcAttr{Setpgid: true, PidFD: &pidfd}
	if s.groups != nil {
		if p.group, err = s.groups.Make(id); err != nil {
			return p, err
		}
		if p.procs, err = p.group.OpenProcs(); err != nil {
			return p, err
		}
		dir, err := p.group.Open()
		if err != nil {
			return p, err
		}
		defer dir.Close()
		sys.UseCgroupFD, sys.CgroupFD = true, int(dir.Fd())
	}
	if err := fault.Error(fault.SpawnFork); err != nil {
		return p, fmt.Errorf("%s: %w", m.Program, err)
	}
	pid, err := syscall.ForkExec(m.Program, append([]string{m.Program}, m.Args...), &syscall.ProcAttr{
		Dir:   m.Dir,
		Env:   environment(m, name, s),
		Files: files,
		Sys:   sys,
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
	// Whoever protects the supervisor from the OOM killer does not mean its
	// workers, which inherit the score.
	p.badOOM = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), strconv.AppendInt(nil, int64(m.OOMScoreAdj), 10), 0)
	return p, nil
}

// environment is what a worker gets, by name, each name once: programs differ in
// which of two they take. The manifest wins over what is passed through; a
// manifest cannot name a variable of ours (package patterns).
func environment(m *patterns.Manifest, name string, s surroundings) []string {
	config, _ := json.Marshal(m.Config) // a map of strings always encodes
	env := make(map[string]string)
	for _, k := range passedThrough {
		if v, ok := os.LookupEnv(k); ok {
			env[k] = v
		}
	}
	maps.Copy(env, m.Environment)
	env["UNDERSTUDY_CONTROL_FD"] = strconv.Itoa(controlFD)
	env["UNDERSTUDY_PATTERN"] = m.Name
	env["UNDERSTUDY_WORKER"] = name
	env["UNDERSTUDY_CONFIG"] = string(config)
	if s.instance != "" {
		env["UNDERSTUDY_INSTANCE"] = s.instance
	}
	if off := s.pace.String(); off != "" {
		env[pace.Variable] = off
	}
	if m.Heir {
		env["UNDERSTUDY_FENCE_FD"] = strconv.Itoa(doomFD)
	}
	list := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}
