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
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/patterns/echo/echov1"
	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

const (
	readyTimeout = 20 * time.Second
	stopTimeout  = 20 * time.Second
	deathTimeout = 20 * time.Second
)

// daemon is a running understudyd and what the demo asks of it.
type daemon struct {
	cmd        *exec.Cmd
	logFile    string
	conn       *grpc.ClientConn
	launcher   launcher.PatternLauncherClient
	supervisor service.SupervisorClient
	events     grpc.ServerStreamingClient[understudyv1.Event]
}

func startDaemon(ctx context.Context, program, patterns, dir string) (*daemon, error) {
	d := &daemon{logFile: filepath.Join(dir, "log")}
	log, err := os.Create(d.logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.cmd = exec.Command(program, "--patterns-dir", patterns, "--runtime-dir", filepath.Join(dir, "run"),
		"--state-dir", filepath.Join(dir, "state"), "--grpc-port", "0", "--metrics-port", "0", "--health-port", "0")
	d.cmd.Stderr = log
	// An interrupt from the terminal is for the demo, which then stops it.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w (run `make build` first)", err)
	}
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(out).ReadString('\n')
		line <- s
		_, _ = io.Copy(io.Discard, out)
	}()
	var ready string
	select {
	case ready = <-line:
	case <-time.After(readyTimeout):
	case <-ctx.Done():
	}
	_, rest, ok := strings.Cut(ready, "grpc=")
	if !ok {
		return nil, errors.Join(fmt.Errorf("understudyd is not ready; its log is:\n%s", d.log()), d.stop())
	}
	address, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if d.conn, err = grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	d.launcher = launcher.NewPatternLauncherClient(d.conn)
	d.supervisor = service.NewSupervisorClient(d.conn)
	if d.events, err = d.supervisor.WatchEvents(ctx, &understudyv1.WatchEventsRequest{}); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

func (d *daemon) log() string {
	b, _ := os.ReadFile(d.logFile)
	return string(b)
}

func (d *daemon) stop() error {
	if d.conn != nil {
		d.conn.Close()
	}
	_ = d.cmd.Process.Signal(unix.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- d.cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(stopTimeout):
		_ = d.cmd.Process.Kill()
		return fmt.Errorf("understudyd did not stop within %v; its log is:\n%s", stopTimeout, d.log())
	}
}

// launch binds a namespace and starts its client.
func (d *daemon) launch(ctx context.Context, namespace string) (*tenant, error) {
	r, err := d.launcher.LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: "echo", Namespace: namespace,
		Isolation: launcher.IsolationLevel_ISOLATION_NAMESPACE})
	if err != nil {
		return nil, fmt.Errorf("launch for %s: %w", namespace, err)
	}
	return startTenant(ctx, r.ProcessId, r.Address)
}

// kill ends the tenant's worker and waits for the next to answer and for the
// pool to be full again; the gap is what the client saw.
func (d *daemon) kill(ctx context.Context, t *tenant, how string, sig unix.Signal, way echov1.CrashWay) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, deathTimeout)
	defer cancel()
	before := t.last()
	t.beginGap()
	if sig != 0 {
		if _, err := d.supervisor.SignalWorker(ctx, &understudyv1.SignalWorkerRequest{ProcessId: t.processID, Signal: int32(sig)}); err != nil {
			return 0, err
		}
	} else {
		t.crash(ctx, way)
	}
	after, gap, err := t.waitForOther(ctx, before.Pid)
	if err != nil {
		return 0, fmt.Errorf("after %s: %w; the daemon's log is:\n%s", how, err, d.log())
	}
	facts, err := d.settled(ctx, t.processID)
	if err != nil {
		return 0, fmt.Errorf("after %s: %w", how, err)
	}
	fmt.Printf("  %-21s %-8d %-7s -> %-8d %-6d %6s µs   %9s\n", how, before.Pid, facts["cause"], after.Pid, after.Epoch, facts["activate_us"], ms(gap))
	return gap, nil
}

// settled waits for the failover's event and for a standby behind it.
func (d *daemon) settled(ctx context.Context, processID string) (map[string]string, error) {
	for {
		e, err := d.events.Recv()
		if err != nil {
			return nil, fmt.Errorf("events: %w", err)
		}
		if e.Kind == "failover" && e.ProcessId == processID {
			return e.Facts, d.awaitSpare(ctx)
		}
	}
}

// awaitSpare waits until the pattern has a standby; events say when to look.
func (d *daemon) awaitSpare(ctx context.Context) error {
	for {
		pools, err := d.supervisor.ListPools(ctx, &understudyv1.ListPoolsRequest{})
		if err != nil {
			return err
		}
		for _, p := range pools.Pools {
			if p.Pattern == "echo" && p.Standby > 0 {
				return nil
			}
		}
		if _, err := d.events.Recv(); err != nil {
			return fmt.Errorf("events: %w", err)
		}
	}
}
