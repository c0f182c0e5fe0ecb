package api_test

import (
	"context"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

func TestHealthAndReflectionOnBothListeners(t *testing.T) {
	h := open(t)
	ctx := soon(t)
	for _, conn := range []*grpc.ClientConn{h.conn, dial(t, h.addrs.GRPC)} {
		for _, service := range []string{"", "prism.launcher.PatternLauncher", "understudy.v1.Supervisor"} {
			a, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
			require.NoError(t, err)
			require.Equal(t, healthpb.HealthCheckResponse_SERVING, a.Status)
		}
		stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
		require.NoError(t, err)
		require.NoError(t, stream.Send(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}))
		a, err := stream.Recv()
		require.NoError(t, err)
		var names []string
		for _, s := range a.GetListServicesResponse().GetService() {
			names = append(names, s.Name)
		}
		require.Contains(t, names, "prism.launcher.PatternLauncher")
		require.Contains(t, names, "understudy.v1.Supervisor")
		require.NoError(t, stream.CloseSend())
	}
}

func TestTheSocketIsForThisUserOnly(t *testing.T) {
	h := open(t)
	info, err := os.Stat(h.addrs.Unix)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// serving counts the streams of a method that the server, which is in this
// process, has goroutines for.
func serving(method string) int {
	buf := make([]byte, 4<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "(*supervisorService)."+method+"(")
}

// Clients that vanish in mid-stream, without a word of HTTP/2, leave nothing
// behind, and the others' streams go on.
func TestClientsThatVanishAreForgotten(t *testing.T) {
	h := open(t)
	ctx := soon(t)
	stays, err := h.supervisor.WatchEvents(ctx, &understudyv1.WatchEventsRequest{})
	require.NoError(t, err)
	_, err = stays.Header()
	require.NoError(t, err)
	for range 5 {
		raw := make(chan *net.TCPConn, 1)
		conn := dial(t, h.addrs.GRPC, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				raw <- c.(*net.TCPConn)
			}
			return c, err
		}))
		for range 20 {
			stream, err := service.NewSupervisorClient(conn).WatchEvents(ctx, &understudyv1.WatchEventsRequest{})
			require.NoError(t, err)
			_, err = stream.Header()
			require.NoError(t, err)
		}
		require.GreaterOrEqual(t, serving("WatchEvents"), 21)
		c := <-raw
		require.NoError(t, c.SetLinger(0)) // a reset, as from a machine that lost its power and came back
		require.NoError(t, c.Close())
		conn.Close()
	}
	require.Eventually(t, func() bool { return serving("WatchEvents") == 1 }, 10*time.Second, 5*time.Millisecond)
}
