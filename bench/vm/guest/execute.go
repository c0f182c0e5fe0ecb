package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy/bench/vm/plan"
)

// environment of every command.
var environment = []string{"PATH=/usr/bin:/bin", "HOME=/root", "USER=root", "TMPDIR=/tmp", "LANG=C.UTF-8"}

// logLimit bounds what is kept of a command's output: it lies in memory.
const logLimit = 16 << 20

// execute runs a command to its end, and ends all that it left behind.
func execute(c plan.Command) (r plan.Result, err error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return r, err
	}
	log, err := os.Create(filepath.Join(plan.Out, c.Name+".log"))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return r, err
	}
	defer null.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return r, err
	}
	defer read.Close()

	began := time.Now()
	p, err := os.StartProcess(c.Args[0], c.Args, &os.ProcAttr{
		Dir: c.Dir, Env: environment, Files: []*os.File{null, write, write},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	write.Close()
	if err != nil {
		return r, err
	}
	kept := &kept{to: log}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(io.MultiWriter(os.Stdout, kept), read)
	}()
	late := time.AfterFunc(c.Timeout, func() { _ = p.Signal(unix.SIGKILL) })
	status, err := reap(p.Pid)
	defer func() { _ = p.Release() }()
	r = plan.Result{Name: c.Name, Status: describe(status), Duration: time.Since(began)}
	if !late.Stop() {
		r.Status = fmt.Sprintf("killed after %v", c.Timeout)
	}
	r.Strays, err = endStrays(err)
	<-copied // whoever could write is dead
	if kept.dropped > 0 {
		err = errors.Join(err, fmt.Errorf("%s: %d bytes of output beyond %d were not kept", c.Name, kept.dropped, logLimit))
	}
	return r, err
}

// reap waits for one child. Others that end meanwhile were orphans.
func reap(pid int) (status unix.WaitStatus, err error) {
	for {
		got, err := unix.Wait4(-1, &status, 0, nil)
		if err != nil && err != unix.EINTR || got == pid {
			return status, err
		}
	}
}

// endStrays kills all that is left but the first process, and counts it.
func endStrays(err error) (n int, _ error) {
	// As the first process: everybody else (kill(2)).
	if e := unix.Kill(-1, unix.SIGKILL); e != nil && e != unix.ESRCH {
		return 0, errors.Join(err, e)
	}
	for {
		var status unix.WaitStatus
		switch _, e := unix.Wait4(-1, &status, 0, nil); e {
		case nil:
			if status.Signal() == unix.SIGKILL {
				n++
			}
		case unix.EINTR:
		case unix.ECHILD:
			return n, err
		default:
			return n, errors.Join(err, e)
		}
	}
}

func describe(s unix.WaitStatus) string {
	switch {
	case s.Signaled():
		return "ended by " + unix.SignalName(s.Signal())
	case s.ExitStatus() != 0:
		return fmt.Sprintf("exit status %d", s.ExitStatus())
	}
	return plan.OK
}

// kept passes on the first logLimit bytes and counts the others.
type kept struct {
	to            io.Writer
	size, dropped int
}

func (k *kept) Write(b []byte) (int, error) {
	room := min(len(b), logLimit-k.size)
	k.size += room
	k.dropped += len(b) - room
	if _, err := k.to.Write(b[:room]); err != nil {
		return 0, err
	}
	return len(b), nil
}
