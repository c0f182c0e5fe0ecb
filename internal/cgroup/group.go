package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/fault"
)

// ErrPopulated is returned by Remove where processes did not die in time.
var ErrPopulated = errors.New("processes are left in the control group")

// Group is one worker's control group. Its methods may be called by any
// goroutine.
type Group struct{ dir string }

// Dir is the folder of the group.
func (g *Group) Dir() string { return g.dir }

// Open returns a descriptor of the group for clone into it
// (syscall.SysProcAttr.CgroupFD).
func (g *Group) Open() (*os.File, error) { return g.open(".", unix.O_PATH|unix.O_DIRECTORY) }

// OpenProcs returns a descriptor of cgroup.procs, which lists the processes.
func (g *Group) OpenProcs() (*os.File, error) { return g.open("cgroup.procs", unix.O_RDONLY) }

// open opens a file in blocking mode: the runtime must not wait for it.
func (g *Group) open(name string, flags int) (*os.File, error) {
	path := filepath.Join(g.dir, name)
	fd, err := -1, fault.Error(fault.CgroupOpen)
	if err == nil {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Pids returns the processes that are in the group itself, not those in groups
// below it. A zombie is listed until it is reaped only while its group leader's
// threads live, so what is listed can be signalled.
func (g *Group) Pids() ([]int, error) {
	b, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	var pids []int
	for field := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 { // 0: outside of our PID namespace
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// maxRounds bounds KillBut: each round sees what was forked during the one
// before.
const maxRounds = 32

// KillBut sends SIGKILL to every process of the group but those that spare
// says, until none is left, for at most maxRounds rounds. It returns how many it
// killed. Groups below it are killed as a whole.
func (g *Group) KillBut(spare func(pid int) bool) (killed int) {
	seen := map[int]bool{}
	for range maxRounds {
		fresh := false
		for _, p := range g.handles(func(pid int) bool { return !seen[pid] && !spare(pid) }) {
			seen[p.pid], fresh = true, true
			if unix.PidfdSendSignal(p.fd, unix.SIGKILL, nil, 0) == nil {
				killed++
			}
			unix.Close(p.fd)
		}
		if !fresh {
			break
		}
	}
	below, _ := g.below()
	for _, b := range below {
		if populated, err := b.Populated(); err == nil && populated && b.Kill() == nil {
			killed++
		}
	}
	return killed
}

// handle is a process by its pidfd.
type handle struct{ pid, fd int }

// handles opens the processes of the group that are wanted. A process is listed
// before its pidfd is opened and after it: so the pidfd is that process's, even
// if the number was used again meanwhile.
func (g *Group) handles(wanted func(pid int) bool) (all []handle) {
	pids, err := g.Pids()
	if err != nil {
		return nil
	}
	for _, pid := range pids {
		if !wanted(pid) {
			continue
		}
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			all = append(all, handle{pid: pid, fd: fd})
		}
	}
	if len(all) == 0 {
		return nil
	}
	pids, err = g.Pids()
	return slices.DeleteFunc(all, func(h handle) bool {
		lost := err != nil || !slices.Contains(pids, h.pid)
		if lost {
			unix.Close(h.fd)
		}
		return lost
	})
}

// below are the groups that a worker made in its own.
func (g *Group) below() ([]*Group, error) {
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		return nil, err
	}
	var groups []*Group
	for _, e := range entries {
		if e.IsDir() {
			groups = append(groups, &Group{dir: filepath.Join(g.dir, e.Name())})
		}
	}
	return groups, nil
}

// Kill sends SIGKILL to everything in the group and below it.
func (g *Group) Kill() error {
	err := fault.Error(fault.CgroupKill)
	if err == nil {
		err = os.WriteFile(filepath.Join(g.dir, "cgroup.kill"), []byte("1"), 0)
	}
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}

// Populated reports whether a process is left in the group or below it. A
// zombie does not count.
func (g *Group) Populated() (bool, error) {
	b, err := os.ReadFile(filepath.Join(g.dir, "cgroup.events"))
	if err != nil {
		return false, fmt.Errorf("cgroup: %w", err)
	}
	return bytes.Contains(b, []byte("populated 1")), nil
}

// Wait waits until no process is left in the group or below it. Error:
// ErrPopulated after the timeout.
func (g *Group) Wait(timeout time.Duration) error {
	events, err := g.open("cgroup.events", unix.O_RDONLY)
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	defer events.Close()
	end := time.Now().Add(timeout)
	text := make([]byte, 256)
	for {
		n, err := unix.Pread(int(events.Fd()), text, 0)
		if err != nil {
			return fmt.Errorf("cgroup: %s: %w", events.Name(), err)
		}
		if !bytes.Contains(text[:n], []byte("populated 1")) {
			return nil
		}
		left := time.Until(end)
		if left <= 0 {
			return fmt.Errorf("%w %s after %v", ErrPopulated, g.dir, timeout)
		}
		// A change of the file is told by POLLPRI (cgroup-v2 documentation).
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}, int(left.Milliseconds())+1)
	}
}

// removePause is the time between two tries to remove a group: what the kernel
// refuses for want of memory or descriptors, or as busy, may be over then.
const removePause = 10 * time.Millisecond

// Remove ends everything in the group, waits for that and removes it. It
// blocks, and tries again what fails until the timeout. Error: ErrPopulated
// where processes do not end, or that of the last try.
func (g *Group) Remove(timeout time.Duration) error {
	for end := time.Now().Add(timeout); ; time.Sleep(removePause) {
		err := g.removeOnce(time.Until(end))
		if err == nil || !time.Now().Before(end) {
			return err
		}
	}
}

func (g *Group) removeOnce(timeout time.Duration) error {
	err := g.Kill()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = g.Wait(timeout)
	}
	if err != nil {
		return err
	}
	return g.remove()
}

// remove removes the folder, those below it first.
func (g *Group) remove() error {
	below, err := g.below()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cgroup: %w", err)
	}
	for _, b := range below {
		if err := b.remove(); err != nil {
			return err
		}
	}
	err = fault.Error(fault.CgroupRmdir)
	if err == nil {
		err = os.Remove(g.dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cgroup: %w", err)
	}
	return nil
}
