package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/bench/internal/daemon"
	"understudy/patterns/echo/echov1"
)

// killer is prepared to end one worker.
type killer struct {
	kill  func(pid int) error
	close func()
}

// prepare makes everything ready for the death of the active worker, so that
// the kill itself is one system call or one request.
func (d death) prepare(ctx context.Context, f *daemon.Funeral, address string) (*killer, error) {
	if d == sigkill {
		return &killer{func(int) error { return f.Kill(unix.SIGKILL) }, func() {}}, nil
	}
	// A SIGSEGV from outside would be handled by the Go runtime, so the worker
	// has to send it to itself, with the default action set. The time begins
	// before the request that asks it to.
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	if _, err := say(ctx, conn); err != nil {
		return nil, errors.Join(fmt.Errorf("connect for %s: %w", d, err), conn.Close())
	}
	var call sync.WaitGroup
	return &killer{
		kill: func(int) error {
			call.Go(func() {
				// It ends with the connection; whether the worker died, the
				// next answers say.
				_, _ = echov1.NewEchoClient(conn).Crash(ctx, &echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_SIGSEGV})
			})
			return nil
		},
		close: func() {
			conn.Close()
			call.Wait()
		},
	}, nil
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
