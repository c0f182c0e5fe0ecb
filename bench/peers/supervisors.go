package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"understudy/bench/internal/role"
)

// restarted is a supervisor that starts its worker again, cold.
type restarted struct {
	*process
	// rest is how long the worker must have been up before it dies.
	rest time.Duration
	born time.Time
}

func (r *restarted) bury(ctx context.Context, _ int) (func(context.Context, *client) error, error) {
	// Nothing tells us when the supervisor would restart without a penalty.
	select {
	case <-time.After(time.Until(r.born.Add(r.rest))):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return func(context.Context, *client) error {
		r.born = time.Now() // it answers, so it was born before
		return nil
	}, nil
}

// startS6 runs s6-supervise under s6-svscan.
func startS6(_ context.Context, p place) (instance, error) {
	service := filepath.Join(p.dir, "scan", workerRole)
	if err := os.MkdirAll(service, 0o755); err != nil {
		return nil, err
	}
	script := fmt.Sprintf("#!/bin/sh\nexec env %s %s %s %d >/dev/null\n", role.Environment(workerRole), p.worker, p.socket, p.mb)
	if err := os.WriteFile(filepath.Join(service, "run"), []byte(script), 0o755); err != nil {
		return nil, err
	}
	run, err := start(exec.Command(program("s6-svscan"), filepath.Dir(service)))
	if err != nil {
		return nil, err
	}
	// s6-supervise starts a program at most once a second.
	return &restarted{process: run, rest: time.Second + 100*time.Millisecond, born: time.Now()}, nil
}

// startSupervisor runs supervisord.
func startSupervisor(_ context.Context, p place) (instance, error) {
	config := fmt.Sprintf(`
[supervisord]
nodaemon=true
logfile=%[1]s/log
pidfile=%[1]s/pid
childlogdir=%[1]s
[program:worker]
command=%[2]s %[3]s %[4]d
environment=%[5]s
autorestart=true
startsecs=0
startretries=1000000
`, p.dir, p.worker, p.socket, p.mb, role.Environment(workerRole))
	file := filepath.Join(p.dir, "supervisord.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	run, err := start(exec.Command(program("supervisord"), "-n", "-c", file))
	if err != nil {
		return nil, err
	}
	return &restarted{process: run, born: time.Now()}, nil
}

// systemdHere says why not.
func systemdHere() string {
	if _, err := os.Stat("/run/systemd/system"); err != nil { // sd_booted(3)
		return "this machine was not booted with systemd"
	}
	if os.Getuid() != 0 {
		return "only root may start a system service"
	}
	return ""
}

// unit is a transient service.
type unit struct {
	restarted
	name string
}

// startSystemd has PID 1 run the worker.
func startSystemd(ctx context.Context, p place) (instance, error) {
	u := &unit{name: "understudy-bench-" + strconv.Itoa(os.Getpid()) + ".service"}
	out, err := exec.CommandContext(ctx, program("systemd-run"), "--unit="+u.name, "--collect",
		"-p", "Restart=always", "-p", "RestartSec=0", "-p", "StartLimitIntervalSec=0",
		"-p", "Environment="+role.Environment(workerRole), p.worker, p.socket, strconv.Itoa(p.mb)).CombinedOutput()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("systemd-run: %w: %s", err, out), u.stop())
	}
	return u, nil
}

func (u *unit) stop() error {
	if out, err := exec.Command(program("systemctl"), "stop", u.name).CombinedOutput(); err != nil {
		return fmt.Errorf("systemctl stop %s: %w: %s", u.name, err, out)
	}
	return nil
}
