package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/patterns/echo/echov1"
)

// prepare has the active worker ready to die of one system call.
func (d death) prepare(ctx context.Context, address string) error {
	if d == sigkill {
		return nil
	}
	// The Go runtime handles a SIGSEGV from outside, unless the worker has given it its default action.
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	_, err = echov1.NewEchoClient(conn).Crash(ctx, &echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_SIGSEGV, Prepare: true})
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("prepare %s: %w", d, err)
	}
	return nil
}

// signal is what is sent to the worker.
func (d death) signal() unix.Signal {
	if d == sigsegv {
		return unix.SIGSEGV
	}
	return unix.SIGKILL
}

// allowCores has processes that are started from now on dump core, however
// large. It says why not, or "".
func allowCores() string {
	b, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		return err.Error()
	}
	if p := strings.TrimSpace(string(b)); strings.ContainsAny(p, "/|") {
		return fmt.Sprintf("cores go to %q; `sysctl kernel.core_pattern=core` has them written where they can be removed", p)
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &now); err != nil {
		return err.Error()
	}
	if now.Cur = now.Max; now.Max != unix.RLIM_INFINITY {
		now.Cur, now.Max = unix.RLIM_INFINITY, unix.RLIM_INFINITY
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &now); err != nil {
		return fmt.Sprintf("core size limit: %v; try `ulimit -c unlimited`", err)
	}
	return ""
}

// removeCore removes the core that a dead worker left in dir and checks that it
// was whole.
func removeCore(dir string, mb int) error {
	cores, err := filepath.Glob(filepath.Join(dir, "core*"))
	if err != nil {
		return err
	}
	var written int64
	for _, c := range cores {
		if info, err := os.Stat(c); err == nil {
			written += info.Size()
		}
		if err := os.Remove(c); err != nil {
			return err
		}
	}
	if written < int64(mb)<<20 {
		return fmt.Errorf("the worker of %d MB left a core of %d MB", mb, written>>20)
	}
	return nil
}
