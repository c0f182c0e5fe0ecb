package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"understudy/patterns/echo/echov1"
)

// Crash makes the worker die or hang.
func (e *echo) Crash(_ context.Context, r *echov1.CrashRequest) (*echov1.CrashResponse, error) {
	e.stuck.RLock()
	defer e.stuck.RUnlock()
	var err error
	switch r.Way {
	case echov1.CrashWay_CRASH_WAY_EXIT:
		os.Exit(exitCode(r.ExitCode))
	case echov1.CrashWay_CRASH_WAY_PANIC:
		go panic("crash requested")
		select {}
	case echov1.CrashWay_CRASH_WAY_SIGSEGV:
		err = dieBy(unix.SIGSEGV, r.Prepare)
	case echov1.CrashWay_CRASH_WAY_SIGABRT:
		err = dieBy(unix.SIGABRT, r.Prepare)
	case echov1.CrashWay_CRASH_WAY_SIGKILL:
		err = raise(unix.SIGKILL)
	case echov1.CrashWay_CRASH_WAY_SIGSTOP:
		err = raise(unix.SIGSTOP)
	case echov1.CrashWay_CRASH_WAY_DEADLOCK:
		go e.stuck.Lock() // had when this call is over
	case echov1.CrashWay_CRASH_WAY_LEAK:
		err = leak(r.LeakLimitMb)
	case echov1.CrashWay_CRASH_WAY_CLOSE_CONTROL:
		e.assignment.Load().CloseControl()
	default:
		return nil, status.Errorf(codes.InvalidArgument, "way %v is not known", r.Way)
	}
	if err != nil {
		return nil, status.Errorf(codes.Internal, "%v: %v", r.Way, err)
	}
	return &echov1.CrashResponse{}, nil
}

func exitCode(asked int32) int {
	if asked == 0 {
		return 1
	}
	return int(asked)
}

// dieBy ends the process by the default action of a signal that the Go runtime
// handles, so that the kernel sees the death, and the core, of a C program. With
// prepare the signal is still to come.
func dieBy(sig unix.Signal, prepare bool) error {
	// struct sigaction of the kernel: SIG_DFL, no flags, no mask. It is the
	// size of the longest, amd64's; the mask has 8 bytes everywhere.
	var dfl [32]byte
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(&dfl)), 0, 8, 0, 0); errno != 0 {
		return fmt.Errorf("rt_sigaction: %w", errno)
	}
	if prepare {
		return nil
	}
	return raise(sig)
}

// raise sends the signal to the thread that runs this, which therefore does
// nothing more: signals to the process may hit another first.
func raise(sig unix.Signal) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Tgkill(unix.Getpid(), unix.Gettid(), sig); err != nil {
		return fmt.Errorf("tgkill: %w", err)
	}
	return nil
}

// leak lets the process grow by limit MiB and no further, and grows until the
// Go runtime gives up.
func leak(limit int32) error {
	if limit == 0 {
		limit = 64
	}
	size, err := addressSpace()
	if err != nil {
		return err
	}
	size += uint64(limit) << 20
	if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: size, Max: size}); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	go func() {
		var all [][]byte
		for {
			chunk := make([]byte, 1<<20)
			for i := 0; i < len(chunk); i += os.Getpagesize() {
				chunk[i] = 1
			}
			all = append(all, chunk)
			runtime.KeepAlive(all)
		}
	}()
	return nil
}

// addressSpace is what RLIMIT_AS limits: the first number of proc_pid_statm(5).
func addressSpace() (bytes uint64, err error) {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscan(string(statm), &bytes); err != nil {
		return 0, fmt.Errorf("/proc/self/statm: %w", err)
	}
	return bytes * uint64(os.Getpagesize()), nil
}
