package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// peer is one way to have a worker supervised.
type peer struct {
	name string
	// needs are the programs without which it cannot run; packages what has
	// them in Debian.
	needs    []string
	packages string
	// here says why it cannot run here although it is installed, or "".
	here func() string
	// cold: it has no warm standby.
	cold bool
	// start runs it with a worker of that size, in a folder of its own.
	start func(ctx context.Context, p place) (instance, error)
}

// place is where a peer runs and what it supervises.
type place struct {
	dir    string // empty, and removed later
	socket string // where clients ask
	worker string // the worker's program
	mb     int
	tools  tools
}

// instance is a peer that runs. Its worker need not answer yet.
type instance interface {
	// bury is called before the death of the worker with this pid; the
	// function it returns waits, afterwards, until everything is as before.
	bury(ctx context.Context, pid int) (restored func(ctx context.Context, c *client) error, err error)
	stop() error
}

var peers = []peer{
	{name: "understudy", start: startUnderstudy},
	{name: "haproxy", needs: []string{"haproxy"}, packages: "haproxy", start: startHAProxy(sensible)},
	{name: "haproxy, 5 ms", needs: []string{"haproxy"}, packages: "haproxy", start: startHAProxy(hard)},
	{name: "nginx", needs: []string{"nginx"}, packages: "nginx-light", start: startNginx},
	{name: "s6", needs: []string{"s6-svscan", "s6-supervise"}, packages: "s6", cold: true, start: startS6},
	{name: "supervisor", needs: []string{"supervisord"}, packages: "supervisor", cold: true, start: startSupervisor},
	{name: "systemd", needs: []string{"systemd-run", "systemctl"}, packages: "systemd", here: systemdHere, cold: true, start: startSystemd},
}

// missing says why a peer cannot run here and what would help, or "".
func (p *peer) missing() string {
	for _, n := range p.needs {
		if program(n) == "" {
			return fmt.Sprintf("%s is not installed: apt-get install %s", n, p.packages)
		}
	}
	if p.here != nil {
		return p.here()
	}
	return ""
}

// work is about how many seconds a death takes, with what comes before and
// after.
func (p *peer) work(mb int) float64 {
	seconds := 0.2 + float64(mb)/1024
	if p.cold {
		seconds += 2 // they wait before they start a program again
	}
	return seconds
}

// program finds a program, where an ordinary user's PATH does not look too.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path := filepath.Join("/usr/sbin", name)
	if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
		return path
	}
	return ""
}

// stopTimeout is how long a process may take to end after SIGTERM.
const stopTimeout = 20 * time.Second

// process is a program that we run in the foreground.
type process struct {
	cmd  *exec.Cmd
	out  bytes.Buffer
	once sync.Once
	err  error
}

// start starts a program; its output is kept for errors.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	// An interrupt from the terminal is for the benchmark, which then stops it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return p, nil
}

// stop ends it. That a program ends by the signal is as good as any end.
func (p *process) stop() error {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(unix.SIGTERM)
		timer := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() })
		defer timer.Stop()
		err := p.cmd.Wait()
		var ended *exec.ExitError
		if err == nil || errors.As(err, &ended) && ended.Sys().(syscall.WaitStatus).Signal() == unix.SIGTERM {
			return
		}
		p.err = fmt.Errorf("%s: %w: %s", filepath.Base(p.cmd.Path), err, bytes.TrimSpace(p.out.Bytes()))
	})
	return p.err
}

// answers asks until who answers is as wanted. It is used when something comes
// back that nobody tells us of.
func answers(ctx context.Context, c *client, wanted func(pid int) bool) error {
	const pause = 2 * time.Millisecond
	var last error
	for {
		pid, err := c.Ask(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("the worker does not come back: %w (%v)", context.Cause(ctx), last)
		}
		if err == nil && wanted(pid) {
			return nil
		}
		if last = err; err == nil {
			last = fmt.Errorf("pid %d answers", pid)
		}
		time.Sleep(pause)
	}
}
