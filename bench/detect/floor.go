package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"understudy/bench/internal/role"
)

const floorRole = "detect-floor"

// measureFloor takes n deaths of a process that holds next to nothing, from the
// kill to the return of a poll of its pidfd: no sentinel, no table, no Go
// runtime in the process that dies.
func measureFloor(ctx context.Context, n int, realtime bool, record func(time.Duration)) error {
	cmd := role.Command(ctx, floorRole, strconv.Itoa(n), strconv.FormatBool(realtime))
	cmd.Env = append(cmd.Env, "GOMAXPROCS=1", "GOGC=off")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	got := 0
	for lines := bufio.NewScanner(out); lines.Scan(); got++ {
		ns, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			return errors.Join(fmt.Errorf("floor: %w", err), cmd.Process.Kill(), cmd.Wait())
		}
		record(time.Duration(ns))
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	if got != n {
		return fmt.Errorf("floor: %d deaths instead of %d", got, n)
	}
	return nil
}

// floor is the role; it prints each time in nanoseconds.
func floor() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("arguments are N REALTIME, not %q", os.Args[1:])
	}
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return fmt.Errorf("n: %w", err)
	}
	runtime.LockOSThread() // the forks die with it
	if os.Args[2] == "true" {
		// As the sentinel does; where it is not permitted, neither is that.
		_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO,
			Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}, 0)
	}
	out := bufio.NewWriter(os.Stdout)
	for range n {
		d, err := pollDeath()
		if err != nil {
			return err
		}
		fmt.Fprintln(out, int64(d))
	}
	return out.Flush()
}

func pollDeath() (time.Duration, error) {
	pid, err := sleeper()
	if err != nil {
		return 0, fmt.Errorf("fork: %w", err)
	}
	defer func() { _, _ = unix.Wait4(pid, nil, unix.WALL, nil) }()
	defer func() { _ = unix.Kill(pid, unix.SIGKILL) }()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, fmt.Errorf("pidfd: %w", err)
	}
	defer unix.Close(pidfd)
	time.Sleep(time.Millisecond) // until it sleeps too
	dead := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	start := time.Now()
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil {
		return 0, fmt.Errorf("kill: %w", err)
	}
	for {
		if _, err := unix.Poll(dead, -1); !errors.Is(err, unix.EINTR) {
			return time.Since(start), err
		}
	}
}

// sleeper forks a process that does nothing. It is half a Go runtime: only raw
// system calls. Its death sends no signal, which would wake us.
//
//go:norace
//go:noinline
func sleeper() (int, error) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, 0, 0, 0, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0)
		for {
			unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
		}
	}
	return int(pid), nil
}
