package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"understudy/bench/vm/plan"
)

// mounts in their order. A kernel without one of the optional lacks that
// feature, which is for those who need it to say.
var mounts = []struct {
	kind, at string
	perm     uint32
	optional bool
}{
	{"proc", "/proc", 0o555, false},
	{"sysfs", "/sys", 0o555, false},
	{"devtmpfs", "/dev", 0o755, false},
	{"devpts", "/dev/pts", 0o755, false},
	{"tmpfs", "/dev/shm", 0o1777, false},
	{"tmpfs", "/tmp", 0o1777, false},
	{"tmpfs", "/run", 0o755, false},
	{"cgroup2", "/sys/fs/cgroup", 0o755, false},
	{"bpf", "/sys/fs/bpf", 0o700, true},
	{"debugfs", "/sys/kernel/debug", 0o700, true},
	{"tracefs", "/sys/kernel/tracing", 0o700, true},
}

func mountAll() error {
	var errs []error
	for _, m := range mounts {
		// In sysfs the mount points are there, and none can be made.
		err := os.MkdirAll(m.at, os.FileMode(m.perm&0o777))
		if err == nil {
			err = unix.Mount(m.kind, m.at, m.kind, 0, "")
		}
		if err == nil && m.perm&unix.S_ISVTX != 0 {
			err = unix.Chmod(m.at, m.perm)
		}
		if err != nil && !m.optional {
			errs = append(errs, fmt.Errorf("mount %s at %s: %w", m.kind, m.at, err))
		}
	}
	return errors.Join(append(errs, os.MkdirAll(plan.Out, 0o755))...)
}

// limits are as a service manager gives them; the kernel's own allow the first
// process 4096 files.
func limits() error {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 19, Max: 1 << 19}); err != nil {
		return fmt.Errorf("limit of files: %w", err)
	}
	return nil
}

// loopback brings up the only network there is.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// enableControllers gives the groups below the root every controller there is.
func enableControllers() error {
	const root = "/sys/fs/cgroup"
	b, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range strings.Fields(string(b)) {
		errs = append(errs, os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+c), 0))
	}
	return errors.Join(errs...)
}

// load loads kernel modules, each after those it needs.
func load(files []string) error {
	for _, name := range files {
		f, err := os.Open(filepath.Join(plan.Modules, name))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	return nil
}

// installShell links the shell's commands beside it, where it came along.
func installShell() error {
	if _, err := os.Stat(plan.Shell); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	bin := filepath.Dir(plan.Shell)
	if out, err := exec.Command(plan.Shell, "--install", "-s", bin).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", plan.Shell, err, out)
	}
	return nil
}

// rawConsole has lines end in one character, as they were written.
func rawConsole() {
	if t, err := unix.IoctlGetTermios(1, unix.TCGETS); err == nil {
		t.Oflag &^= unix.OPOST
		_ = unix.IoctlSetTermios(1, unix.TCSETS, t)
	}
}
