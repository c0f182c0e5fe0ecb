package route_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"understudy/patterns/echo/echov1"
	"understudy/proto/prism/launcher"
)

// A client that knows nothing of us, through the proxy: it is launched for on
// demand, answered by its own worker, and does not see that one die.
func TestExampleProxy(t *testing.T) {
	d := newDaemon(t, "")
	ready := started(t, exec.Command(program(t, "exampleproxy"), "-supervisor", d.target(), "-idempotent", "understudy.echo.v1.Echo/Say"))
	_, address, _ := strings.Cut(strings.TrimSpace(ready), "grpc=")
	cc, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { cc.Close() })
	echo := echov1.NewEchoClient(cc)
	as := func(headers ...string) context.Context {
		return metadata.AppendToOutgoingContext(within(t), headers...)
	}
	say := func(ctx context.Context) *echov1.SayResponse {
		r, err := echo.Say(ctx, &echov1.SayRequest{Payload: []byte("hello")})
		require.NoError(t, err)
		require.Equal(t, "hello", string(r.Payload))
		return r
	}

	// Many first calls at once.
	first := make(chan string)
	for range 8 {
		go func() {
			r, err := echo.Say(as("x-namespace", "acme"), &echov1.SayRequest{})
			if err != nil {
				first <- err.Error()
				return
			}
			first <- r.ProcessId
		}()
	}
	for range 8 {
		require.Equal(t, "ns:acme:echo", <-first)
	}
	require.Equal(t, "session:s1:echo", say(as("x-namespace", "acme", "x-session", "s1")).ProcessId)
	require.Equal(t, "shared:echo", say(as()).ProcessId)

	before := say(as("x-namespace", "acme"))
	for range 5 {
		d.full()
		require.Positive(t, before.Pid) // kill(2) means ourselves by 0
		require.NoError(t, unix.Kill(int(before.Pid), unix.SIGKILL))
		var after *echov1.SayResponse
		for after = before; after.Epoch == before.Epoch; { // at most one before the signal is delivered
			after = say(as("x-namespace", "acme"))
		}
		require.Equal(t, before.Epoch+1, after.Epoch)
		before = after
	}

	// What may not be repeated fails, and what is wrong says so.
	_, err = echo.Crash(as("x-namespace", "acme"), &echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_SIGKILL})
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	_, err = echo.Say(as("x-namespace", "no/such"), &echov1.SayRequest{})
	require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
	_, err = echo.Crash(as("x-namespace", "acme"), &echov1.CrashRequest{})
	require.Equal(t, codes.InvalidArgument, status.Code(err), "the worker's own error: %v", err)

	// Launched again after its end, over the connection that the proxy kept.
	_, err = d.launcher.TerminatePattern(within(t), &launcher.TerminateRequest{ProcessId: "ns:acme:echo"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { // as soon as the proxy knows of the end
		r, err := echo.Say(as("x-namespace", "acme"), &echov1.SayRequest{})
		return err == nil && r.ProcessId == "ns:acme:echo"
	}, patience, time.Millisecond)
}
