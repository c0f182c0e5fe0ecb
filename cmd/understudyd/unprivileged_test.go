package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/patterns/echo/echov1"
	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

// nobody is the ordinary user as whom root runs the test; anybody else runs it
// as himself.
const nobody = 65534

// TestOrdinaryUser runs the core of it all without a privilege: launch, death,
// failover on a lower rung, and a status that says what would give the better.
func TestOrdinaryUser(t *testing.T) {
	dir, err := os.MkdirTemp("", "us") // t.TempDir is too long for a socket's path, and closed to others
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Chmod(dir, 0o755))
	pattern := filepath.Join(dir, "patterns", "echo")
	require.NoError(t, os.MkdirAll(pattern, 0o755))
	build(t, filepath.Join(dir, "understudyd"), "understudy/cmd/understudyd")
	build(t, filepath.Join(pattern, "echo"), "understudy/patterns/echo")
	require.NoError(t, os.WriteFile(filepath.Join(pattern, "manifest.yaml"),
		[]byte("name: echo\nprogram: ./echo\nconfig: {ballast_mb: 64}\n"), 0o644))
	own := filepath.Join(dir, "own")
	require.NoError(t, os.Mkdir(own, 0o700))

	cmd := exec.Command(filepath.Join(dir, "understudyd"), "--patterns-dir", filepath.Dir(pattern),
		"--runtime-dir", filepath.Join(own, "run"), "--state-dir", filepath.Join(own, "state"),
		"--grpc-port", "0", "--metrics-port", "0", "--health-port", "0")
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(own, nobody, nobody))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			_ = cmd.Process.Signal(unix.SIGTERM)
			require.NoError(t, cmd.Wait(), log.String())
		}
	}
	defer stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	_, rest, ok := strings.Cut(line, "grpc=")
	require.True(t, ok, line)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	api := dial(t, strings.Fields(rest)[0])
	supervisor := service.NewSupervisorClient(api)
	status, err := supervisor.GetStatus(ctx, &understudyv1.GetStatusRequest{})
	require.NoError(t, err)
	var names []string
	for _, f := range status.Features {
		names = append(names, f.Name)
		require.NotEmpty(t, f.InUse, f.Name)
		if !f.Best {
			require.NotEmpty(t, f.Why, "%s: why not the better form", f.Name)
		}
	}
	require.Contains(t, names, "free memory")
	require.Contains(t, names, "shared-memory leaks")
	_, page, ok := strings.Cut(line, "metrics=")
	require.True(t, ok, line)
	metrics, err := http.Get("http://" + strings.Fields(page)[0] + "/metrics")
	require.NoError(t, err)
	text, err := io.ReadAll(metrics.Body)
	require.NoError(t, errors.Join(err, metrics.Body.Close()))
	for _, name := range names {
		require.Contains(t, string(text), fmt.Sprintf("name=%q", name), "as status has it")
	}
	http.DefaultClient.CloseIdleConnections()
	if os.Geteuid() == 0 {
		require.Equal(t, "death source", status.Features[0].Name)
		require.False(t, status.Features[0].Best, "nobody may load programs into the kernel")
	}

	r, err := launcher.NewPatternLauncherClient(api).LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: "echo", Namespace: "acme"})
	require.NoError(t, err)
	echo := echov1.NewEchoClient(dial(t, r.Address))
	first, err := echo.Say(ctx, &echov1.SayRequest{})
	require.NoError(t, err)
	_, err = supervisor.SignalWorker(ctx, &understudyv1.SignalWorkerRequest{ProcessId: r.ProcessId, Signal: int32(unix.SIGKILL)})
	require.NoError(t, err)
	for answer := first; answer.Pid == first.Pid; {
		// A call that was in flight fails; the next one waits for the standby.
		if a, err := echo.Say(ctx, &echov1.SayRequest{}, grpc.WaitForReady(true)); err == nil {
			answer = a
			require.True(t, a.Pid == first.Pid || a.Epoch == first.Epoch+1)
		}
		require.NoError(t, ctx.Err())
	}
	stop()
}

func build(t *testing.T, to, pkg string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-o", to, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as make does
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

func dial(t *testing.T, target string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { cc.Close() })
	return cc
}
