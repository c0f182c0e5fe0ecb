package worker_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ask sends a line and returns the answer's.
func ask(t testing.TB, c net.Conn, line string) string {
	t.Helper()
	_, err := fmt.Fprintln(c, line)
	require.NoError(t, err)
	return answer(t, c)
}

// askOnce asks on a connection of its own.
func askOnce(t testing.TB, e endpoint, line string) string {
	t.Helper()
	c := e.dial(t)
	defer c.Close()
	return ask(t, c, line)
}

func answer(t testing.TB, c net.Conn) string {
	t.Helper()
	answer, err := bufio.NewReader(c).ReadString('\n')
	require.NoError(t, err)
	return answer
}

func TestStandbyBecomesActiveAndRetires(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			e := listenOn(t, network)
			waiting := e.dial(t)
			s := lines(t, config{"greeting": "unused"}).ready()
			p := s.probe(1)
			require.True(t, p.Ok)
			require.Empty(t, p.ProcessId)

			s.activate(e, config{"greeting": "hi"}).active()
			const want = "ns:acme:test 7 hi hello\n"
			require.Equal(t, want, ask(t, waiting, "hello"), "a connection older than the worker's activation")
			require.Equal(t, want, ask(t, e.dial(t), "hello"))
			p = s.probe(2)
			require.True(t, p.Ok)
			require.Equal(t, "ns:acme:test", p.ProcessId)
			require.EqualValues(t, 7, p.Epoch)

			s.retire()
			s.exits(0)
		})
	}
}

func TestRetiredStandbyExits(t *testing.T) {
	s := lines(t, nil).ready()
	s.retire()
	s.exits(0)
	s.hearsNothingMore()
}

func TestDrainedStandbyExits(t *testing.T) {
	s := lines(t, nil).ready()
	s.drain(time.Second)
	s.exits(0)
}

func TestWarmUpThatFails(t *testing.T) {
	s := lines(t, config{"warm": "fail"})
	require.Equal(t, "warm-up: as it was told", s.fatal())
	s.exits(1)
	require.Contains(t, s.output.String(), "lines: warm-up: as it was told\n")
}

// The rehearsal is part of the warm-up, with connections like the real ones.
func TestRehearsal(t *testing.T) {
	s := lines(t, nil).ready()
	s.output.await(t, "rehearsed as ")
	require.Contains(t, s.output.String(), "nixConn\n")
	s.retire()
	s.exits(0)
}

func TestRehearsalThatFails(t *testing.T) {
	s := lines(t, config{"rehearse": "fail"})
	require.Equal(t, "warm-up: rehearsal: as it was told", s.fatal())
	s.exits(1)
}

// A worker whose warm-up hangs can be ended in every way.
func TestWarmUpThatHangs(t *testing.T) {
	for name, end := range map[string]func(*supervised){
		"retire":          (*supervised).retire,
		"drain":           func(s *supervised) { s.drain(time.Minute) },
		"supervisor gone": (*supervised).leave,
		"SIGTERM": func(s *supervised) {
			s.output.await(t, "warming up for ever")
			s.terminate()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := lines(t, config{"warm": "hang"})
			end(s)
			s.exits(0)
		})
	}
}

func TestEarlyProbeIsAnsweredWhenWarm(t *testing.T) {
	s := lines(t, nil)
	s.tell(probe(41))
	s.tell(probe(42))
	s.ready()
	r := s.hear().GetProbeResult()
	if r.GetId() == 41 { // the warm-up was over before the other came
		r = s.hear().GetProbeResult()
	}
	require.EqualValues(t, 42, r.GetId(), "the last one counts")
	require.True(t, r.Ok)
}

func TestProbeThatFails(t *testing.T) {
	s := lines(t, config{"probe": "fail"}).ready()
	for id := range uint64(3) {
		p := s.probe(id)
		require.False(t, p.Ok)
		require.Equal(t, "as it was told", p.Error)
	}
}

// A hung canary hinders nothing but the answer.
func TestProbeThatHangs(t *testing.T) {
	e := listenOn(t, "unix")
	s := lines(t, config{"probe": "hang"}).ready()
	for id := range uint64(50) {
		s.tell(probe(id))
	}
	s.activate(e, nil).active()
	require.Equal(t, "ns:acme:test 7  hello\n", askOnce(t, e, "hello"))
	s.drain(time.Second)
	s.drained()
	s.retire()
	s.exits(0)
	s.hearsNothingMore()
}

func TestServeThatEndsByItself(t *testing.T) {
	for order, want := range map[string]string{
		"fail":   "serve ns:acme:test: as it was told",
		"return": "serve ns:acme:test: returned without having been asked to",
	} {
		t.Run(order, func(t *testing.T) {
			e := listenOn(t, "unix")
			e.dial(t)
			s := lines(t, nil).ready().activate(e, config{"serve": order})
			if order == "fail" { // after Accept
				s.active()
			}
			require.Equal(t, want, s.fatal())
			s.exits(1)
		})
	}
}

// A drained worker finishes what it has begun and takes nothing new: that is
// the next worker's, on the same socket.
func TestDrain(t *testing.T) {
	e := listenOn(t, "unix")
	old := lines(t, nil).ready().activate(e, config{"greeting": "old"}).active()
	c := e.dial(t)
	require.Equal(t, "waiting\n", ask(t, c, "wait"))

	old.drain(patience)
	require.True(t, old.probe(5).Ok)
	next := e.dial(t)
	_, err := fmt.Fprintln(next, "later")
	require.NoError(t, err)
	require.Equal(t, "ns:acme:test 7 old before\n", ask(t, c, "before"))
	old.drained()

	lines(t, nil).ready().activate(e, config{"greeting": "new"}).active()
	require.Equal(t, "ns:acme:test 7 new later\n", answer(t, next))

	old.retire()
	old.exits(0)
}

func TestDrainThatDoesNotEnd(t *testing.T) {
	e := listenOn(t, "unix")
	s := lines(t, nil).ready().activate(e, config{"serve": "hang"}).active()
	s.drain(time.Millisecond)
	require.Equal(t, "serve ns:acme:test: not finished after a grace period of 1ms", s.fatal())
	s.exits(1)
}

func TestSIGTERM(t *testing.T) {
	t.Run("standby", func(t *testing.T) {
		s := lines(t, nil).ready()
		s.terminate()
		s.exits(0)
		s.hearsNothingMore()
	})
	t.Run("active", func(t *testing.T) {
		e := listenOn(t, "unix")
		s := lines(t, config{"probe": "fail"}).ready().activate(e, nil).active()
		c := e.dial(t)
		require.Equal(t, "waiting\n", ask(t, c, "wait"))
		s.terminate()
		s.drainingFor("SIGTERM")
		require.Equal(t, "ns:acme:test 7  new\n", askOnce(t, e, "new"), "it accepts until its successor does")
		require.False(t, s.probe(1).Ok, "its canary runs until then")
		s.drain(patience)
		s.awaitDraining()
		require.Equal(t, "ns:acme:test 7  before\n", ask(t, c, "before"))
		s.drained()
		s.exits(0) // nobody need say retire
	})
	t.Run("no successor", func(t *testing.T) {
		e := listenOn(t, "unix")
		s := lines(t, nil).ready().activate(e, nil).active()
		asked := time.Now()
		s.terminate()
		s.drainingFor("SIGTERM")
		s.drained()
		require.GreaterOrEqual(t, time.Since(asked), time.Second)
		s.exits(0)
		require.Contains(t, s.output.String(), noSuccessor)
	})
	t.Run("supervisor gone meanwhile", func(t *testing.T) {
		e := listenOn(t, "unix")
		s := lines(t, nil).ready().activate(e, nil).active()
		s.terminate()
		s.drainingFor("SIGTERM")
		s.leave()
		s.exits(0)
		require.NotContains(t, s.output.String(), noSuccessor)
	})
	t.Run("twice", func(t *testing.T) {
		e := listenOn(t, "unix")
		s := lines(t, nil).ready().activate(e, nil).active()
		s.terminate()
		s.drainingFor("SIGTERM")
		s.terminate()
		s.drained()
		s.exits(0)
		require.NotContains(t, s.output.String(), noSuccessor)
	})
	t.Run("while it drains", func(t *testing.T) {
		e := listenOn(t, "unix")
		s := lines(t, config{"probe": "fail"}).ready().activate(e, config{"serve": "hang"}).active()
		s.terminate()
		s.drainingFor("SIGTERM")
		s.drain(patience)
		s.awaitDraining()
		for left := false; !left; { // signals that come at once are one
			s.terminate()
			require.NoError(t, s.conn.SetDeadline(time.Now().Add(20*time.Millisecond)))
			_, _, err := s.conn.Recv()
			left = !errors.Is(err, os.ErrDeadlineExceeded)
		}
		s.exits(0)
	})
	t.Run("drained", func(t *testing.T) {
		e := listenOn(t, "unix")
		s := lines(t, nil).ready().activate(e, nil).active()
		s.drain(time.Second)
		s.drained()
		s.terminate()
		s.exits(0)
	})
}

// noSuccessor is what a worker logs that waited for one in vain.
const noSuccessor = "no successor"

// drainingFor waits until the worker says that it wants to stop.
func (s *supervised) drainingFor(reason string) {
	s.t.Helper()
	m := s.hear().GetDraining()
	require.NotNil(s.t, m, "worker does not say that it wants to stop")
	require.Equal(s.t, reason, m.Reason)
}

// awaitDraining waits until the worker drains: probes are then answered without
// the canary, which is one that fails.
func (s *supervised) awaitDraining() {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for id := uint64(1); !s.probe(id).Ok; id++ {
		require.True(s.t, time.Now().Before(deadline), "worker does not drain")
	}
}

func TestSupervisorGone(t *testing.T) {
	t.Run("standby", func(t *testing.T) {
		s := lines(t, nil).ready()
		s.leave()
		s.exits(0)
	})
	t.Run("active", func(t *testing.T) {
		e := listenOn(t, "unix")
		s := lines(t, nil).ready().activate(e, nil).active()
		c := e.dial(t)
		require.NotEmpty(t, ask(t, c, "before"))
		s.leave()
		require.NotEmpty(t, ask(t, c, "after"))
		require.NotEmpty(t, askOnce(t, e, "new"))
		c.Close()
		s.terminate()
		s.exits(0)
	})
	t.Run("drained", func(t *testing.T) {
		e := listenOn(t, "unix")
		s := lines(t, nil).ready().activate(e, nil).active()
		s.drain(time.Second)
		s.drained()
		s.leave()
		s.exits(0)
	})
}
