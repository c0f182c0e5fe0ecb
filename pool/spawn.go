package pool

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/cgroup"
	"understudy/internal/fault"
	"understudy/internal/pace"
	"understudy/patterns"
)

const (
	// groupTimeout bounds the wait for the end of what was killed in a group.
	groupTimeout = 10 * time.Second
	// heirTimeout is how long a heir may go on in its dead worker's group.
	heirTimeout = 150 * time.Millisecond
)

// process is a worker's process just made, and our ends of its descriptors.
type process struct {
	pid            int
	pidfd          *os.File
	link           link
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
	for _, f := range []*os.File{p.pidfd, p.doom, p.stdout, p.stderr, p.procs} {
		if f != nil {
			f.Close()
		}
	}
	if p.link != nil {
		p.link.close()
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

// spawn makes the process: own process group, pidfd from clone, output pipes,
// and what its contract gives it. It blocks for fork and exec, so it runs off
// the loop.
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
	spec, err := contractOf(m).prepare(m, name, s)
	if err != nil {
		return p, err
	}
	p.link, p.doom = spec.link, spec.doom
	theirs = append(theirs, spec.files...)
	var files []uintptr
	for _, f := range theirs {
		files = append(files, f.Fd())
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
		Env:   spec.env,
		Files: files,
		Sys:   sys,
	})
	if err != nil {
		return p, fmt.Errorf("%s: %w", m.Program, err)
	}
	if pidfd < 0 { // a kernel before 5.4
		if pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
			return p, abandon(pid, fmt.Errorf("pidfd: %w", err))
		}
	}
	p.pid, p.pidfd = pid, os.NewFile(uintptr(pidfd), "pidfd")
	// Nothing here can be done between fork and exec, so a worker has our score
	// and our limit for its first moment.
	if err := limitFiles(pid, os.Geteuid()); err != nil {
		return p, abandon(pid, fmt.Errorf("limit of descriptors: %w", err))
	}
	// Whoever protects the supervisor from the OOM killer does not mean its
	// workers, which inherit the score.
	p.badOOM = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), strconv.AppendInt(nil, int64(m.OOMScoreAdj), 10), 0)
	return p, nil
}

// abandon ends a process that was made and cannot be kept, because of err.
func abandon(pid int, err error) error {
	_ = unix.Kill(pid, unix.SIGKILL)
	_, _ = unix.Wait4(pid, nil, 0, nil)
	return err
}
