package worker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"understudy/patterns/echo/echov1"
)

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// activeEcho returns an echo worker that serves, and its client.
func activeEcho(t testing.TB, c config) (*supervised, echov1.EchoClient, *grpc.ClientConn) {
	t.Helper()
	e := listenOn(t, "unix")
	s := echo(t, c).ready().activate(e, c).active()
	client, cc := e.echoClient(t)
	say(t, s, client)
	return s, client, cc
}

func say(t testing.TB, s *supervised, client echov1.EchoClient) {
	t.Helper()
	r, err := client.Say(patient(t), &echov1.SayRequest{Payload: []byte("hello")})
	require.NoError(t, err)
	require.Equal(t, "hello", string(r.Payload))
	require.EqualValues(t, s.cmd.Process.Pid, r.Pid)
	require.Equal(t, "ns:acme:test", r.ProcessId)
	require.EqualValues(t, 7, r.Epoch)
}

func TestEchoServesHealthAndReflection(t *testing.T) {
	_, _, cc := activeEcho(t, nil)
	h, err := healthv1.NewHealthClient(cc).Check(patient(t), &healthv1.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthv1.HealthCheckResponse_SERVING, h.Status)

	r, err := reflectionv1.NewServerReflectionClient(cc).ServerReflectionInfo(patient(t))
	require.NoError(t, err)
	require.NoError(t, r.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}))
	services, err := r.Recv()
	require.NoError(t, err)
	require.Contains(t, services.String(), "understudy.echo.v1.Echo")
}

// A call whose request is still on its way when the worker is drained is
// answered.
func TestEchoDrainFinishesCallsInFlight(t *testing.T) {
	s, client, cc := activeEcho(t, nil)
	call, err := cc.NewStream(patient(t), &grpc.StreamDesc{ClientStreams: true}, echov1.Echo_Say_FullMethodName)
	require.NoError(t, err)
	say(t, s, client) // after it on the same connection: the worker has both
	s.drain(patience)
	require.True(t, s.probe(1).Ok) // it knows
	require.NoError(t, call.SendMsg(&echov1.SayRequest{Payload: []byte("late")}))
	require.NoError(t, call.CloseSend())
	r := new(echov1.SayResponse)
	require.NoError(t, call.RecvMsg(r))
	require.Equal(t, "late", string(r.Payload))
	require.ErrorIs(t, call.RecvMsg(r), io.EOF)
	s.drained()
	s.retire()
	s.exits(0)
}

func TestEchoDrainIsBounded(t *testing.T) {
	s, _, cc := activeEcho(t, nil)
	watch, err := healthv1.NewHealthClient(cc).Watch(patient(t), &healthv1.HealthCheckRequest{})
	require.NoError(t, err)
	for _, want := range []healthv1.HealthCheckResponse_ServingStatus{
		healthv1.HealthCheckResponse_SERVING, healthv1.HealthCheckResponse_NOT_SERVING,
	} {
		h, err := watch.Recv()
		require.NoError(t, err)
		require.Equal(t, want, h.Status)
		if want == healthv1.HealthCheckResponse_SERVING {
			s.drain(200 * time.Millisecond)
		}
	}
	_, err = watch.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	s.drained()
	s.retire()
	s.exits(0)
}

func TestEchoConfig(t *testing.T) {
	t.Run("bad", func(t *testing.T) {
		for key, value := range map[string]string{"warmup_ms": "soon", "ballast_mb": "-1", "warmup_busy": "very"} {
			s := echo(t, config{key: value})
			require.Contains(t, s.fatal(), "warm-up: config "+key+`: "`+value+`" is not`)
			s.exits(1)
		}
	})
	t.Run("bad at launch", func(t *testing.T) {
		s := echo(t, nil).ready().activate(listenOn(t, "unix"), config{"ballast_mb": "lots"})
		require.Contains(t, s.fatal(), `serve ns:acme:test: config ballast_mb: "lots" is not`)
		s.exits(1)
	})
	for _, busy := range []string{"true", "false"} {
		t.Run("warm-up busy "+busy, func(t *testing.T) {
			start := time.Now()
			s := echo(t, config{"warmup_ms": "300", "warmup_busy": busy}).ready()
			require.Greater(t, time.Since(start), 300*time.Millisecond)
			s.retire()
			s.exits(0)
			spent := s.cmd.ProcessState.UserTime()
			require.Equal(t, busy == "true", spent > 60*time.Millisecond, "%v of CPU", spent)
		})
	}
	t.Run("ballast", func(t *testing.T) {
		e := listenOn(t, "unix")
		s := echo(t, config{"ballast_mb": "64"}).ready()
		before := s.resident()
		require.Greater(t, before, 64<<20)
		s.activate(e, config{"ballast_mb": "96"}).active()
		require.InDelta(t, before+32<<20, s.resident(), 4<<20, "a launch can have more")
	})
}

// resident is the worker's resident memory in bytes.
func (s *supervised) resident() int {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	require.NoError(s.t, err)
	var size, resident int
	_, err = fmt.Sscan(string(b), &size, &resident)
	require.NoError(s.t, err)
	return resident * os.Getpagesize()
}

// Each way to die ends as its name says.
func TestCrash(t *testing.T) {
	exits := func(code int) func(*testing.T, syscall.WaitStatus) {
		return func(t *testing.T, s syscall.WaitStatus) {
			require.Truef(t, s.Exited(), "ended by %v", s.Signal())
			require.Equal(t, code, s.ExitStatus())
		}
	}
	dies := func(sig syscall.Signal, core bool) func(*testing.T, syscall.WaitStatus) {
		return func(t *testing.T, s syscall.WaitStatus) {
			require.Truef(t, s.Signaled(), "exited with %d", s.ExitStatus())
			require.Equal(t, sig, s.Signal())
			require.Equal(t, core, s.CoreDump())
		}
	}
	for name, c := range map[string]struct {
		request *echov1.CrashRequest
		check   func(*testing.T, syscall.WaitStatus)
		output  string
	}{
		"exit":        {&echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_EXIT}, exits(1), ""},
		"exit code":   {&echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_EXIT, ExitCode: 42}, exits(42), ""},
		"panic":       {&echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_PANIC}, exits(2), "panic: crash requested"},
		"segv":        {&echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_SIGSEGV}, dies(syscall.SIGSEGV, false), ""},
		"segv, core":  {&echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_SIGSEGV}, dies(syscall.SIGSEGV, true), ""},
		"abort":       {&echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_SIGABRT}, dies(syscall.SIGABRT, false), ""},
		"abort, core": {&echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_SIGABRT}, dies(syscall.SIGABRT, true), ""},
		"kill":        {&echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_SIGKILL}, dies(syscall.SIGKILL, false), ""},
		"leak":        {&echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_LEAK}, exits(2), "fatal error: "},
		"leak a bit":  {&echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_LEAK, LeakLimitMb: 8}, exits(2), "fatal error: "},
	} {
		t.Run(name, func(t *testing.T) {
			s, client, _ := activeEcho(t, nil)
			s.limitCore(strings.HasSuffix(name, "core"))
			_, err := client.Crash(patient(t), c.request)
			if strings.HasPrefix(name, "leak") {
				// It may be dead before its answer is out.
				require.Contains(t, []codes.Code{codes.OK, codes.Unavailable}, status.Code(err), "%v", err)
			} else {
				require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
			}
			c.check(t, s.status())
			require.True(t, strings.Contains(s.output.String(), c.output), "the worker says why")
		})
	}
}

// limitCore allows a core dump, or forbids it.
func (s *supervised) limitCore(allowed bool) {
	s.t.Helper()
	limit := unix.Rlimit{}
	if allowed {
		pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
		require.NoError(s.t, err)
		if p := strings.TrimSpace(string(pattern)); p == "" || strings.ContainsAny(p[:1], "|@/") {
			s.t.Skipf("core dumps go to %q, not into the working directory", p)
		}
		limit = unix.Rlimit{Cur: 1 << 30, Max: 1 << 30}
	}
	err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_CORE, &limit, nil)
	if allowed && errors.Is(err, unix.EPERM) {
		s.t.Skip("not permitted to raise RLIMIT_CORE")
	}
	require.NoError(s.t, err)
}

func TestCrashStop(t *testing.T) {
	s, client, _ := activeEcho(t, nil)
	crashed := make(chan error, 1)
	ctx := patient(t)
	go func() {
		_, err := client.Crash(ctx, &echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_SIGSTOP})
		crashed <- err
	}()
	var info unix.Siginfo
	require.NoError(t, unix.Waitid(unix.P_PID, s.cmd.Process.Pid, &info, unix.WSTOPPED|unix.WNOWAIT, nil))
	require.EqualValues(t, 5, info.Code, "CLD_STOPPED")
	select {
	case err := <-crashed:
		t.Fatal("a stopped worker answered:", err)
	default:
	}
	require.NoError(t, s.cmd.Process.Signal(unix.SIGCONT))
	require.NoError(t, <-crashed)
	say(t, s, client)
}

// Deadlocked, it lives and answers neither clients nor probes.
func TestCrashDeadlock(t *testing.T) {
	s, client, cc := activeEcho(t, nil)
	_, err := client.Crash(patient(t), &echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_DEADLOCK})
	require.NoError(t, err)
	short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	s.tell(probe(1))
	_, err = client.Say(short, &echov1.SayRequest{})
	require.Equal(t, codes.DeadlineExceeded, status.Code(err), "%v", err)
	require.NoError(t, s.conn.SetDeadline(time.Now().Add(300*time.Millisecond)))
	b, _, err := s.conn.Recv()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "a deadlocked worker says %s", b)
	// What asks no more than whether there is a process goes on as if nothing were.
	h, err := healthv1.NewHealthClient(cc).Check(patient(t), &healthv1.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, healthv1.HealthCheckResponse_SERVING, h.Status)
}

func TestCrashCloseControl(t *testing.T) {
	s, client, _ := activeEcho(t, nil)
	_, err := client.Crash(patient(t), &echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_CLOSE_CONTROL})
	require.NoError(t, err)
	s.hearsNothingMore()
	say(t, s, client)
}

func TestCrashUnknownWay(t *testing.T) {
	s, client, _ := activeEcho(t, nil)
	_, err := client.Crash(patient(t), &echov1.CrashRequest{})
	require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
	say(t, s, client)
}
