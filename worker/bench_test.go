package worker_test

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"understudy/patterns/echo/echov1"
)

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
