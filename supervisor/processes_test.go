package supervisor_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// process is what proc_pid_stat(5) says of a process.
type process struct {
	pid, parent int
	state       string
	command     string
}

func (p process) String() string { return fmt.Sprintf("%d %s %q", p.pid, p.state, p.command) }

// stat reads a process, or reports that there is none.
func stat(pid int) (process, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	b, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return process{}, false
	}
	p := process{pid: pid}
	_, rest, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')'):]), " ") // the name may hold anything
	if _, err := fmt.Sscan(rest, &p.state, &p.parent); err != nil {
		return process{}, false
	}
	line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	p.command = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
	return p, true
}

func processes(t *testing.T, wanted func(process) bool) (out []process) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := stat(pid); ok && wanted(p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// children are the child processes of pid, zombies too.
func children(t *testing.T, pid int) []process {
	return processes(t, func(p process) bool { return p.parent == pid })
}

// marked are the processes that have TMPDIR=mark in their environment, whoever
// their parent is.
func marked(t *testing.T, mark string) []process {
	return processes(t, func(p process) bool {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
		return bytes.Contains(append(env, 0), []byte("TMPDIR="+mark+"\x00"))
	})
}

// sentinel is the process of the daemon's takeover engine.
func (d *daemon) sentinel() (process, error) {
	for _, p := range children(d.t, d.pid()) {
		if strings.Contains(p.command, "understudyd sentinel ") && p.state != "Z" {
			return p, nil
		}
	}
	return process{}, fmt.Errorf("no sentinel process")
}

// signal signals a child of the daemon, and never anybody who has its number
// by now.
func (d *daemon) signal(pid int, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if p, ok := stat(pid); !ok || p.parent != d.pid() {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// footprint is what a daemon holds: it must not grow.
type footprint struct {
	children, descriptors, sentinelDescriptors int
}

func descriptors(pid int) (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries), err
}

// measure takes the daemon's footprint, or says what is wrong with it.
func (d *daemon) measure() (f footprint, err error) {
	if err := d.full(); err != nil {
		return f, err
	}
	all := children(d.t, d.pid())
	for _, p := range all {
		if p.state == "Z" {
			return f, fmt.Errorf("zombie: %v", p)
		}
	}
	if known := len(marked(d.t, d.mark())); known != len(all)+1 {
		return f, fmt.Errorf("%d processes, of which the daemon has %d as children", known, len(all))
	}
	f.children = len(all)
	s, err := d.sentinel()
	if err != nil {
		return f, err
	}
	if f.sentinelDescriptors, err = descriptors(s.pid); err != nil {
		return f, err
	}
	f.descriptors, err = descriptors(d.pid())
	return f, err
}

// settled is the footprint when the pools are full and each worker has its
// heir beside it.
func (d *daemon) settled(workers int) (f footprint) {
	d.t.Helper()
	d.eventually(func() (err error) {
		if f, err = d.measure(); err == nil && f.children != 2*workers+1 {
			err = fmt.Errorf("%d children; %d workers, as many heirs, and the sentinel are wanted: %v", f.children, workers, children(d.t, d.pid()))
		}
		return err
	})
	return f
}

// returnsTo waits until the daemon's footprint is as it was.
func (d *daemon) returnsTo(was footprint) {
	d.t.Helper()
	d.eventually(func() error {
		is, err := d.measure()
		if err == nil && is != was {
			err = fmt.Errorf("footprint was %+v and is %+v", was, is)
		}
		return err
	})
}
