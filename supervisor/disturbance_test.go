package supervisor_test

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"understudy/internal/dirlock"
	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/proto/understudy/v1/service"
)

func TestSecondSupervisorIsRefused(t *testing.T) {
	d := startDaemon(t, map[string]string{"echo": echoManifest(t, "echo", "")})
	r := d.launch("echo", "acme")
	before, err := d.supervisor.GetBinding(d.ctx(), &understudyv1.GetBindingRequest{ProcessId: r.ProcessId})
	require.NoError(t, err)
	for name, dirs := range map[string][2]string{
		"one runtime directory": {d.path("run"), d.path("other-state")},
		"one state directory":   {d.path("other-run"), d.path("state")},
		"both":                  {d.path("run"), d.path("state")},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			cmd := d.command(dirs[0], dirs[1])
			cmd.Stderr = &out
			err := cmd.Run()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 1, exit.ExitCode())
			require.Contains(t, out.String(), dirlock.ErrLocked.Error())
		})
	}
	tn := newTenant(t, r.ProcessId, r.Address)
	tn.answers()
	after, err := d.supervisor.GetBinding(d.ctx(), &understudyv1.GetBindingRequest{ProcessId: r.ProcessId})
	require.NoError(t, err)
	require.Equal(t, before.Pid, after.Pid)
	require.Equal(t, before.Epoch, after.Epoch)
	d.stopClean()
}

// watchAndVanish opens both streams, takes what comes first, and cuts the
// connection under them.
func watchAndVanish(t *testing.T, d *daemon) {
	var mu sync.Mutex
	var conns []net.Conn
	conn := d.dial(grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
		}
		return c, err
	}))
	defer conn.Close()
	client := service.NewSupervisorClient(conn)
	routes, err := client.WatchRoutes(d.ctx(), &understudyv1.WatchRoutesRequest{})
	require.NoError(t, err)
	first, err := routes.Recv()
	require.NoError(t, err)
	require.True(t, first.Full)
	events, err := client.WatchEvents(d.ctx(), &understudyv1.WatchEventsRequest{})
	require.NoError(t, err)
	_, err = events.Header()
	require.NoError(t, err)
	mu.Lock()
	defer mu.Unlock()
	for _, c := range conns {
		require.NoError(t, c.(*net.TCPConn).SetLinger(0)) // no goodbye: a reset
		require.NoError(t, c.Close())
	}
}

func TestClientsThatVanishDisturbNobody(t *testing.T) {
	d := startDaemon(t, map[string]string{"echo": echoManifest(t, "echo", "spares: {min: 2, max: 2}")})
	r := d.launch("echo", "acme")
	k := newKiller(d, newTenant(t, r.ProcessId, r.Address))
	was := d.settled(3)
	clients := startLoad(t, k.tenants)
	stays, err := d.supervisor.WatchRoutes(d.ctx(), &understudyv1.WatchRoutesRequest{})
	require.NoError(t, err)
	_, err = stays.Recv()
	require.NoError(t, err)
	for range 20 {
		watchAndVanish(t, d)
	}
	require.True(t, k.strike(way{signal: unix.SIGKILL}))
	u, err := stays.Recv()
	require.NoError(t, err)
	require.Equal(t, understudyv1.RouteReason_ROUTE_REASON_FAILOVER, u.Routes[0].Reason)
	require.Equal(t, uint64(2), u.Routes[0].Epoch)
	k.settle()
	clients.end()
	d.returnsTo(was)
	k.account()
	d.stopClean()
}

func TestBadPatternsBesideAGoodOne(t *testing.T) {
	d := startDaemon(t, map[string]string{
		"echo":     echoManifest(t, "echo", ""),
		"unknown":  echoManifest(t, "unknown", "colour: red"),
		"typed":    echoManifest(t, "typed", "spares: many"),
		"range":    echoManifest(t, "range", "spares: {min: 5, max: 1}"),
		"misnamed": echoManifest(t, "other", ""),
		"absent":   "name: absent\nprogram: ./absent\n",
		"broken":   "name: [",
		"dies":     "name: dies\nprogram: sh\nargs: [-c, 'echo cannot find my model; exit 3']\n",
		"mute":     "name: mute\nprogram: sh\nargs: [-c, 'exec cat /dev/zero | cat >/dev/null']\nstart_timeout: 300ms\ngrace_period: 50ms\n",
		"garbage":  "name: garbage\nprogram: sh\nargs: [-c, 'echo hello >&3; read never']\ngrace_period: 50ms\n",
	})
	log := d.logTail()
	for _, name := range []string{"unknown", "typed", "range", "misnamed", "absent", "broken"} {
		require.Contains(t, log, "patterns/"+name, "the log does not name the file")
		_, err := d.launcher.LaunchPattern(d.ctx(), &launcher.LaunchRequest{PatternName: name, Namespace: "acme"})
		require.Equal(t, codes.NotFound, status.Code(err), "%s: %v", name, err)
	}
	for name, says := range map[string]string{"dies": "cannot find my model", "mute": "not ready within 300ms", "garbage": "control socket"} {
		_, err := d.launcher.LaunchPattern(d.ctx(), &launcher.LaunchRequest{PatternName: name, Namespace: "acme"})
		require.Equal(t, codes.Internal, status.Code(err), "%s: %v", name, err)
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, name)
	}
	r := d.launch("echo", "acme")
	newTenant(t, r.ProcessId, r.Address).answers()
	d.stopClean()
}
