package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"understudy/bench/internal/role"
)

// pair is a proxy before two warm workers of which the second is the backup.
// Nobody supervises the workers: a dead one is started again by us, after the
// measurement.
type pair struct {
	place
	workers [2]*exec.Cmd
	sockets [2]string
	proxy   *process
}

// startPair starts the workers and then the proxy with the arguments given.
func startPair(ctx context.Context, p place, proxy string, config func(d *pair) string, args ...string) (_ instance, err error) {
	d := &pair{place: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.stop())
		}
	}()
	for i := range d.workers {
		d.sockets[i] = filepath.Join(p.dir, "worker"+strconv.Itoa(i))
		if err := d.startWorker(ctx, i); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(p.dir, "config")
	if err := os.WriteFile(file, []byte(config(d)), 0o644); err != nil {
		return nil, err
	}
	if d.proxy, err = start(exec.Command(program(proxy), append(args, file)...)); err != nil {
		return nil, err
	}
	return d, nil
}

// startWorker returns when the worker listens.
func (d *pair) startWorker(ctx context.Context, i int) error {
	cmd := exec.Command(d.worker, d.sockets[i], strconv.Itoa(d.mb))
	cmd.Env = append(os.Environ(), role.Environment(workerRole))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.workers[i] = cmd
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return fmt.Errorf("worker does not get ready: %w", err)
	}
	go io.Copy(io.Discard, out)
	return nil
}

func (d *pair) bury(_ context.Context, pid int) (func(context.Context, *client) error, error) {
	if pid != d.workers[0].Process.Pid {
		return nil, fmt.Errorf("pid %d answers, not the first worker", pid)
	}
	return func(ctx context.Context, c *client) error {
		_ = d.workers[0].Wait() // it was killed
		if err := d.startWorker(ctx, 0); err != nil {
			return err
		}
		again := d.workers[0].Process.Pid
		return answers(ctx, c, func(pid int) bool { return pid == again })
	}, nil
}

func (d *pair) stop() error {
	var err error
	if d.proxy != nil {
		err = d.proxy.stop()
	}
	for _, w := range d.workers {
		if w != nil {
			_ = w.Process.Kill()
			_ = w.Wait() // it was killed
		}
	}
	return err
}

// tuning is how HAProxy watches its servers.
type tuning struct {
	interval, check, server string
}

var (
	// sensible does not take a worker for dead that is merely busy.
	sensible = tuning{interval: "20ms", check: "100ms", server: "60s"}
	// hard takes every worker for dead that does not answer within 5 ms,
	// busy or not, and every request that takes longer for lost.
	hard = tuning{interval: "5ms", check: "5ms", server: "5ms"}
)

func startHAProxy(t tuning) func(context.Context, place) (instance, error) {
	return func(ctx context.Context, p place) (instance, error) {
		return startPair(ctx, p, "haproxy", func(d *pair) string {
			return fmt.Sprintf(`
defaults
    mode http
    timeout connect 100ms
    timeout client 60s
    timeout server %[6]s
    timeout check %[5]s
    retries 3
    option redispatch 1
    retry-on all-retryable-errors
    http-reuse always
frontend clients
    bind unix@%[1]s
    default_backend workers
backend workers
    option httpchk GET /
    default-server check inter %[4]s fastinter %[4]s downinter %[4]s fall 1 rise 1 observe layer4 error-limit 1 on-error mark-down on-marked-down shutdown-sessions
    server active unix@%[2]s
    server backup unix@%[3]s backup
`, p.socket, d.sockets[0], d.sockets[1], t.interval, t.check, t.server)
		}, "-db", "-q", "-f")
	}
}

func startNginx(ctx context.Context, p place) (instance, error) {
	return startPair(ctx, p, "nginx", func(d *pair) string {
		user := ""
		if os.Getuid() == 0 {
			user = "user root;" // else its workers may not write to the sockets
		}
		// max_fails=0: the dead worker is tried again with each request, which
		// costs a refused connection, and is back as soon as it listens.
		return fmt.Sprintf(`
daemon off;
%[1]s
worker_processes 1;
pid %[2]s/pid;
error_log %[2]s/error.log;
events {}
http {
    access_log off;
    client_body_temp_path %[2]s/body;
    proxy_temp_path %[2]s/proxy;
    fastcgi_temp_path %[2]s/fastcgi;
    uwsgi_temp_path %[2]s/uwsgi;
    scgi_temp_path %[2]s/scgi;
    keepalive_requests 1000000;
    upstream workers {
        server unix:%[4]s max_fails=0;
        server unix:%[5]s backup;
        keepalive 16;
    }
    server {
        listen unix:%[3]s;
        location / {
            proxy_pass http://workers;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream error timeout invalid_header http_502 http_503 http_504;
        }
    }
}
`, user, p.dir, p.socket, d.sockets[0], d.sockets[1])
	}, "-e", filepath.Join(p.dir, "error.log"), "-c")
}
