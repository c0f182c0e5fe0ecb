package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

// asStranger in the environment makes the test binary somebody who calls the
// API at these addresses.
const asStranger = "UNDERSTUDYD_TEST_AS_STRANGER"

const secret = "s3cret-of-acme"

// stranger calls everything that there is at an address, and prints a line for
// each answer.
func stranger(address string) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, l := service.NewSupervisorClient(conn), launcher.NewPatternLauncherClient(conn)
	for name, call := range map[string]func() (any, error){
		"ListBindings": func() (any, error) {
			return s.ListBindings(ctx, &understudyv1.ListBindingsRequest{ShowConfig: true})
		},
		"GetBinding": func() (any, error) {
			return s.GetBinding(ctx, &understudyv1.GetBindingRequest{ProcessId: "ns:acme:idle", ShowConfig: true})
		},
		"GetStatus":    func() (any, error) { return s.GetStatus(ctx, &understudyv1.GetStatusRequest{}) },
		"ListPatterns": func() (any, error) { return l.ListPatterns(ctx, &launcher.ListPatternsRequest{}) },
		"LaunchPattern": func() (any, error) {
			return l.LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: "idle", Namespace: "acme"})
		},
		"TerminatePattern": func() (any, error) {
			return l.TerminatePattern(ctx, &launcher.TerminateRequest{ProcessId: "ns:acme:idle", Force: true})
		},
		"SignalWorker": func() (any, error) {
			return s.SignalWorker(ctx, &understudyv1.SignalWorkerRequest{ProcessId: "ns:acme:idle", Signal: 9})
		},
		"WatchRoutes": func() (any, error) {
			stream, err := s.WatchRoutes(ctx, &understudyv1.WatchRoutesRequest{})
			if err != nil {
				return nil, err
			}
			return stream.Recv()
		},
	} {
		answer, err := call()
		fmt.Println(name, status.Code(err), answer, err)
	}
}

// Another user of the machine may neither ask nor do anything, even where the
// socket lets everybody connect.
func TestAStrangerIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir := home(t)
	require.NoError(t, os.Chmod(dir, 0o755))
	d := start(t, dir, "--config", configured(t, dir, "launcher: {api: {mode: \"0666\"}}\n"))
	defer func() { require.Zero(t, d.stop(t, unix.SIGTERM)) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	own := service.NewSupervisorClient(dial(t, "unix://"+d.ready["unix"]))
	_, err := launcher.NewPatternLauncherClient(dial(t, d.ready["grpc"])).LaunchPattern(ctx,
		&launcher.LaunchRequest{PatternName: "idle", Namespace: "acme", Config: map[string]string{"token": secret}})
	require.NoError(t, err)
	before, err := own.GetBinding(ctx, &understudyv1.GetBindingRequest{ProcessId: "ns:acme:idle", ShowConfig: true})
	require.NoError(t, err)
	require.Equal(t, secret, before.Config["token"])

	for _, address := range []string{"unix://" + d.ready["unix"], d.ready["grpc"]} {
		cmd := exec.Command("/proc/self/exe") // its folder is closed to others
		cmd.Env = append(os.Environ(), asStranger+"="+address)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		answers := strings.Split(strings.TrimSpace(string(out)), "\n")
		require.Len(t, answers, 8, "%s", out)
		for _, a := range answers {
			require.Equal(t, codes.PermissionDenied.String(), strings.Fields(a)[1], "%s: %s", address, a)
		}
		require.NotContains(t, string(out), secret)
	}
	after, err := own.GetBinding(ctx, &understudyv1.GetBindingRequest{ProcessId: "ns:acme:idle"})
	require.NoError(t, err)
	require.Equal(t, before.Pid, after.Pid)
}
