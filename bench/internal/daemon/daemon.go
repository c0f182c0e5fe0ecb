package daemon

import (
	"bufio"
	"cmp"
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
	"gopkg.in/yaml.v3"

	"understudy/proto/prism/launcher"
	"understudy/proto/understudy/v1/service"
	"understudy/shmregistry"
)

const (
	readyTimeout = 20 * time.Second
	stopTimeout  = 60 * time.Second
	// logTail is how much of the log an error shows.
	logTail = 4 << 10
)

// Config says what runs.
type Config struct {
	// Program is understudyd; Dir a folder of its own for what it writes.
	Program, Dir string
	// Source is its --sentinel-source; "" leaves it to itself.
	Source string
	// Pattern is the one that is measured.
	Pattern Pattern
	// Patterns is a folder that has its manifest; without it the manifest is written,
	// and the daemon has this pattern alone.
	Patterns string
}

// Pattern is what goes into the manifest.
type Pattern struct {
	Name, Program string
	Args          []string
	Environment   map[string]string
	Config        map[string]string
	// Segments are the shared memory that its workers get.
	Segments []shmregistry.Spec
	// Spares are the standbys to keep; with 0 a death means a start.
	Spares int
	// Heir lets its workers have one.
	Heir bool
	// StartTimeout bounds a start; a start that touches much memory is slow.
	StartTimeout time.Duration
}

// Daemon is a running understudyd.
type Daemon struct {
	// PatternDir is the manifest's folder, where workers run and dump core.
	PatternDir string

	cfg        Config
	cmd        *exec.Cmd
	logFile    string
	grpc       string
	conn       *grpc.ClientConn
	launcher   launcher.PatternLauncherClient
	supervisor service.SupervisorClient
}

// Start starts it and returns when it is ready.
func Start(ctx context.Context, cfg Config) (*Daemon, error) {
	patterns := cmp.Or(cfg.Patterns, filepath.Join(cfg.Dir, "patterns"))
	d := &Daemon{cfg: cfg, PatternDir: filepath.Join(patterns, cfg.Pattern.Name), logFile: filepath.Join(cfg.Dir, "log")}
	if cfg.Patterns == "" {
		if err := d.writeManifest(); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(d.logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.cmd = exec.Command(cfg.Program, "--patterns-dir", patterns, "--runtime-dir", filepath.Join(cfg.Dir, "run"),
		"--state-dir", filepath.Join(cfg.Dir, "state"), "--grpc-port", "0", "--metrics-port", "-1", "--health-port", "-1")
	if cfg.Source != "" {
		d.cmd.Args = append(d.cmd.Args, "--sentinel-source", cfg.Source)
	}
	d.cmd.Stderr = log
	// An interrupt from the terminal is for the benchmark, which then stops it.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	if err := d.awaitReady(ctx, out); err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	d.conn, err = grpc.NewClient(d.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	d.launcher = launcher.NewPatternLauncherClient(d.conn)
	d.supervisor = service.NewSupervisorClient(d.conn)
	return d, nil
}

func (d *Daemon) writeManifest() error {
	if err := os.MkdirAll(d.PatternDir, 0o755); err != nil {
		return err
	}
	p := d.cfg.Pattern
	segments := []map[string]any{}
	for _, spec := range p.Segments {
		segments = append(segments, map[string]any{"name": spec.Name, "size": spec.Size, "on_death": string(spec.OnDeath), "named": spec.Named})
	}
	spares := map[string]int{"min": p.Spares, "max": 2 * p.Spares}
	manifest, err := yaml.Marshal(map[string]any{
		"name": p.Name, "program": p.Program, "args": p.Args, "environment": p.Environment, "config": p.Config, "heir": p.Heir,
		"isolation": "namespace", "spares": spares, "segments": segments,
		"start_timeout": p.StartTimeout.String(), "crash_budget": map[string]int{"max": 0},
	})
	if err != nil {
		return fmt.Errorf("manifest of %s: %w", p.Name, err)
	}
	return os.WriteFile(filepath.Join(d.PatternDir, "manifest.yaml"), manifest, 0o644)
}

// awaitReady reads the one line that it prints.
func (d *Daemon) awaitReady(ctx context.Context, out io.Reader) error {
	line := make(chan string, 1)
	go func() {
		s, _ := bufio.NewReader(out).ReadString('\n')
		line <- s
	}()
	select {
	case s := <-line:
		_, rest, ok := strings.Cut(s, "grpc=")
		if !ok {
			return fmt.Errorf("understudyd is not ready; its log ends:\n%s", d.Log())
		}
		d.grpc, _, _ = strings.Cut(rest, " ")
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(readyTimeout):
		return fmt.Errorf("understudyd is not ready after %v; its log ends:\n%s", readyTimeout, d.Log())
	}
}

// Address is where its API listens.
func (d *Daemon) Address() string { return d.grpc }

// Supervisor is a client of its API.
func (d *Daemon) Supervisor() service.SupervisorClient { return d.supervisor }

// Pid is its process.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }

// Log is the end of its log.
func (d *Daemon) Log() string {
	b, err := os.ReadFile(d.logFile)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-logTail):])
}

// Stop ends it and its workers. What does not end, scratch.Dir.Close kills.
func (d *Daemon) Stop() error {
	if d.conn != nil {
		d.conn.Close()
	}
	_ = d.cmd.Process.Signal(unix.SIGTERM)
	timer := time.AfterFunc(stopTimeout, func() { _ = d.cmd.Process.Kill() })
	defer timer.Stop()
	if err := d.cmd.Wait(); err != nil {
		return fmt.Errorf("understudyd: %w; its log ends:\n%s", err, d.Log())
	}
	return nil
}
