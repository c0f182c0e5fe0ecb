package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy/bench/internal/core"
	"understudy/bench/internal/report"
	"understudy/bench/internal/role"
	"understudy/sentinel"
)

// longest is how long a death may take, a core of 1 GB included.
const longest = time.Minute

var errSlow = errors.New("takes too long")

// measure fills the lines of one row. It ends early, without an error, at the
// row's time limit.
func (b *bench) measure(ctx context.Context, r row) error {
	t := &table{bench: b, row: r, lines: map[string]*report.Row{}}
	begun := time.Now()
	for i := range b.n {
		if b.rowLimit > 0 && time.Since(begun) > b.rowLimit {
			b.report.Note("%s: ended after %d of %d deaths, at the row's limit of %v", r, i, b.n, b.rowLimit)
			b.progress.Add(float64(b.n-i)*r.work(), "")
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := b.once(ctx, t); err != nil {
			return fmt.Errorf("death %d: %w", i+1, err)
		}
		b.progress.Add(r.work(), "%d of %d", i+1, b.n)
	}
	return nil
}

// victim is the process that dies.
type victim struct {
	pid, pidfd int
	heir       int // its pidfd, -1 without
	heirPid    int
	stdin      io.WriteCloser
	wait       func() error
}

// once measures one death and waits until nothing is left of it.
func (b *bench) once(ctx context.Context, t *table) (err error) {
	dir := b.dir.Join()
	v, err := b.start(ctx, t.row, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.end()) }()
	for _, w := range b.watchers {
		if err := w.Watch(v.pid, v.pidfd, func(n sentinel.Notice) { w.notices <- n }); err != nil {
			return err
		}
		defer w.Unwatch(v.pid)
	}
	runtime.GC()
	// Some time later, when everybody sleeps, and at no particular time.
	time.Sleep(time.Millisecond + rand.N(time.Millisecond))
	if err := t.row.death.begin(v, b.stamp); err != nil {
		return err
	}
	if err := b.collect(ctx, t); err != nil {
		return err
	}
	if t.row.death == sigsegv {
		return core.Remove(dir, t.row.mb)
	}
	return nil
}

// begin kills, or has the process kill itself.
func (d death) begin(v *victim, s *stamp) error {
	sig := unix.Signal(0)
	switch d {
	case sigkill:
		sig = unix.SIGKILL
	case sigsegv:
		sig = unix.SIGSEGV
	default:
		_, err := v.stdin.Write([]byte{'\n'})
		return err
	}
	s.now()
	return unix.PidfdSendSignal(v.pidfd, sig, nil, 0)
}

// collect takes every watcher's notices up to the last.
func (b *bench) collect(ctx context.Context, t *table) error {
	late := time.After(longest)
	for i, w := range b.watchers {
		for kind := sentinel.Kind(0); kind != sentinel.Exited; {
			select {
			case n := <-w.notices:
				kind = n.Kind
				if i == 0 || n.Source != sentinel.SourcePidfd {
					t.line(n.Source, kind).Record(time.Duration(n.Seen - b.stamp.at.Load()))
				}
			case <-late:
				return errSlow
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

func (b *bench) start(ctx context.Context, r row, dir string) (*victim, error) {
	v := &victim{pidfd: -1, heir: -1}
	cmd := role.Command(ctx, workerRole, strconv.Itoa(r.mb), string(r.death), r.worker)
	cmd.Dir = dir // for its core
	cmd.Stderr = nil
	cmd.ExtraFiles = []*os.File{b.stamp.file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, PidFD: &v.pidfd}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if r.death == oom {
		if err := b.cgroup.limit(r.mb); err != nil {
			return nil, err
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	v.pid, v.stdin, v.wait = cmd.Process.Pid, stdin, cmd.Wait
	if r.death == oom {
		// Before it has read a byte, so before it has touched its memory.
		if err := b.cgroup.add(v.pid); err != nil {
			return nil, errors.Join(err, v.end())
		}
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the process does not get ready: %w", err), v.end())
	}
	if heirPid, err := strconv.Atoi(strings.TrimSpace(line)); err != nil {
		return nil, errors.Join(fmt.Errorf("the process says %q", line), v.end())
	} else if heirPid != 0 {
		if v.heir, err = unix.PidfdOpen(heirPid, 0); err != nil {
			return nil, errors.Join(fmt.Errorf("heir: %w", err), v.end())
		}
		v.heirPid = heirPid
	}
	return v, nil
}

// end kills what lives and reaps both, which is when the memory is free.
func (v *victim) end() error {
	_ = unix.PidfdSendSignal(v.pidfd, unix.SIGKILL, nil, 0)
	_ = v.wait() // killed, and that is all it can say
	unix.Close(v.pidfd)
	if v.heir < 0 {
		return nil
	}
	defer unix.Close(v.heir)
	// It frees the memory at idle priority, for 100 ms: then, like the
	// supervisor, we have it go on as everybody.
	if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(v.heir), Events: unix.POLLIN}}, 100); n == 0 {
		_ = unix.SchedSetAttr(v.heirPid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}, 0)
	}
	for {
		err := unix.Waitid(unix.P_PIDFD, v.heir, nil, unix.WEXITED|unix.WALL, nil)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("reap the heir: %w", err)
		}
	}
}
