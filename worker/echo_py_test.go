package worker_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// echoPy starts the pattern in Python.
func echoPy(t *testing.T) *supervised {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on this machine:", err)
	}
	cmd := exec.Command(python, "-B", "worker.py")
	cmd.Dir = "../patterns/echo_py"
	return supervise(t, nil, cmd)
}

// httpClient asks an endpoint over one connection, which it keeps.
func (e endpoint) httpClient(t *testing.T) *http.Client {
	transport := &http.Transport{
		MaxConnsPerHost: 1,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, e.Addr().Network(), e.Addr().String())
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// post sends a payload and checks that the worker answers.
func post(t *testing.T, s *supervised, c *http.Client) {
	t.Helper()
	r, err := c.Post("http://echo/", "text/plain", strings.NewReader("hello, world"))
	require.NoError(t, err)
	defer r.Body.Close()
	require.Equal(t, http.StatusOK, r.StatusCode)
	var answer struct {
		Payload   string
		PID       int
		ProcessID string `json:"process_id"`
		Epoch     uint64
	}
	require.NoError(t, json.NewDecoder(r.Body).Decode(&answer))
	require.Equal(t, "hello, world", answer.Payload)
	require.Equal(t, s.cmd.Process.Pid, answer.PID)
	require.Equal(t, "ns:acme:test", answer.ProcessID)
	require.EqualValues(t, 7, answer.Epoch)
}

func TestPythonLife(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			e := listenOn(t, network)
			s := echoPy(t).ready()
			require.True(t, s.probe(1<<63+1).Ok)
			s.throw([]byte(`{"resign": {}}`))

			s.activate(e, config{"k": "v"}).active()
			client := e.httpClient(t)
			post(t, s, client)
			post(t, s, client)
			p := s.probe(3)
			require.Equal(t, "ns:acme:test", p.ProcessId)
			require.EqualValues(t, 7, p.Epoch)

			s.drain(patience) // the client's connection is idle
			s.drained()
			s.retire()
			s.exits(0)
			require.Empty(t, s.output.String())
		})
	}
}

func TestPythonStandbyEnds(t *testing.T) {
	for name, end := range map[string]func(*supervised){
		"retire":          (*supervised).retire,
		"drain":           func(s *supervised) { s.drain(time.Second) },
		"SIGTERM":         (*supervised).terminate,
		"supervisor gone": (*supervised).leave,
	} {
		t.Run(name, func(t *testing.T) {
			s := echoPy(t).ready()
			end(s)
			s.exits(0)
		})
	}
}

func TestPythonOutlivesItsSupervisor(t *testing.T) {
	e := listenOn(t, "unix")
	s := echoPy(t).ready().activate(e, nil).active()
	s.leave()
	post(t, s, e.httpClient(t))
	s.terminate()
	s.exits(0)
}

func TestPythonAsksForASuccessor(t *testing.T) {
	active := func(t *testing.T) (*supervised, endpoint) {
		e := listenOn(t, "unix")
		s := echoPy(t).ready().activate(e, nil).active()
		s.terminate()
		s.drainingFor("SIGTERM")
		return s, e
	}
	t.Run("drain", func(t *testing.T) {
		s, e := active(t)
		post(t, s, e.httpClient(t)) // it accepts until its successor does
		s.drain(patience)
		s.drained()
		s.exits(0)
	})
	t.Run("no successor", func(t *testing.T) {
		s, _ := active(t)
		s.drained()
		s.exits(0)
	})
	t.Run("supervisor gone", func(t *testing.T) {
		s, _ := active(t)
		s.leave()
		s.exits(0)
	})
	t.Run("twice", func(t *testing.T) {
		s, _ := active(t)
		s.terminate()
		s.drained()
		s.exits(0)
	})
}

func TestPythonBadDatagrams(t *testing.T) {
	for name, bad := range badDatagrams {
		switch name {
		case "fewer descriptors", "more descriptors", "descriptor is no socket", "second of two is no good":
			continue // it trusts the supervisor that far
		}
		t.Run(name, func(t *testing.T) {
			fd, _ := witness(t)
			s := echoPy(t).ready()
			s.throw([]byte(bad.bytes), repeat(fd, bad.fds)...)
			if name == "empty" { // to a simple worker, that is the end
				s.exits(0)
				return
			}
			require.NotEmpty(t, s.fatal())
			s.exits(1)
		})
	}
	t.Run("active", func(t *testing.T) {
		e := listenOn(t, "unix")
		s := echoPy(t).ready().activate(e, nil).active()
		s.throw([]byte("garbage"))
		require.True(t, s.probe(1).Ok)
		post(t, s, e.httpClient(t))
	})
}

// The program at the end of docs/PROTOCOL.md works as it stands there.
func TestPythonByHand(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on this machine:", err)
	}
	text, err := os.ReadFile("../docs/PROTOCOL.md")
	require.NoError(t, err)
	programs := regexp.MustCompile("(?s)```python\n(.*?)```").FindAllSubmatch(text, -1)
	require.NotEmpty(t, programs)
	program := programs[len(programs)-1]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-B", "-c", string(program[1]))
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Regexp(t, `(?s)^b'{"ready".*b'{"active".*"payload": "hello".*\n0\n$`, string(out))
}
