package worker_test

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/patterns/echo/echov1"
)

// awaitConnection waits until a connection is in the endpoint's backlog.
func (e endpoint) awaitConnection(t testing.TB) {
	t.Helper()
	waiting := []unix.PollFd{{Fd: int32(e.file.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(waiting, int(patience.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, n, "no connection comes")
		return
	}
}

func (e endpoint) echoClient(t testing.TB) (echov1.EchoClient, *grpc.ClientConn) {
	t.Helper()
	target := "passthrough:///" + e.Addr().String()
	if e.Addr().Network() == "unix" {
		target = "unix:" + e.Addr().String()
	}
	cc, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { cc.Close() })
	return echov1.NewEchoClient(cc), cc
}

// BenchmarkActivation measures the time from the activation to the first
// answer to a client that is waiting in the backlog, with a new worker each
// time, and beside it the same on a worker that is long active.
func BenchmarkActivation(b *testing.B) {
	b.Run("echo", func(b *testing.B) {
		var first, second []time.Duration
		for range b.N {
			e := listenOn(b, "unix")
			s := echo(b, nil).ready()
			require.True(b, s.probe(1).Ok)
			ask := func() time.Time {
				client, _ := e.echoClient(b)
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_, err := client.Say(ctx, &echov1.SayRequest{}, grpc.WaitForReady(true))
				if err != nil {
					b.Error(err)
				}
				return time.Now()
			}
			answered := make(chan time.Time)
			go func() { answered <- ask() }()
			e.awaitConnection(b)
			start := time.Now()
			s.activate(e, nil)
			first = append(first, (<-answered).Sub(start))
			s.active()
			start = time.Now()
			second = append(second, ask().Sub(start))
			s.retire()
			s.exits(0)
		}
		report(b, "first", first)
		report(b, "later", second)
	})
	b.Run("lines", func(b *testing.B) {
		var first, second []time.Duration
		for range b.N {
			e := listenOn(b, "unix")
			s := lines(b, nil).ready()
			require.True(b, s.probe(1).Ok)
			c := e.dial(b)
			_, err := fmt.Fprintln(c, "hello")
			require.NoError(b, err)
			start := time.Now()
			s.activate(e, nil)
			_, err = bufio.NewReader(c).ReadString('\n')
			first = append(first, time.Since(start))
			require.NoError(b, err)
			s.active()
			start = time.Now()
			c = e.dial(b)
			_, err = fmt.Fprintln(c, "hello")
			require.NoError(b, err)
			_, err = bufio.NewReader(c).ReadString('\n')
			second = append(second, time.Since(start))
			require.NoError(b, err)
			s.retire()
			s.exits(0)
		}
		report(b, "first", first)
		report(b, "later", second)
	})
}

func report(b *testing.B, what string, times []time.Duration) {
	slices.Sort(times)
	for _, p := range []int{50, 95, 99} {
		b.ReportMetric(float64(times[min(len(times)*p/100, len(times)-1)].Microseconds()), fmt.Sprintf("%s-p%d-µs", what, p))
	}
	b.ReportMetric(0, "ns/op")
}
