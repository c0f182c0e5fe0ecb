package worker_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/control"
	understudyv1 "understudy/proto/understudy/v1"
)

// throw sends what no supervisor should, past all checks of our own.
func (s *supervised) throw(b []byte, fds ...int) {
	s.t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	require.NoError(s.t, unix.Sendmsg(int(s.sock.Fd()), b, oob, nil, unix.MSG_NOSIGNAL))
}

// witness is a descriptor to pass along, and what tells that every copy of it
// but ours is closed.
func witness(t *testing.T) (fd int, closedElsewhere func()) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	return int(w.Fd()), func() {
		t.Helper()
		w.Close()
		require.NoError(t, r.SetReadDeadline(time.Now().Add(patience)))
		_, err := r.Read(make([]byte, 1))
		require.EqualError(t, err, "EOF", "the worker keeps a descriptor it cannot use")
	}
}

var badDatagrams = map[string]struct {
	bytes string
	fds   int
	want  string
}{
	"garbage":                  {"\x00\xffgarbage", 1, "malformed control message"},
	"empty":                    {"", 0, "malformed control message: no bytes"},
	"cut off":                  {`{"activate": {"epoch": "1"`, 1, "malformed control message"},
	"two kinds":                {`{"probe": {}, "retire": {}}`, 1, "malformed control message"},
	"oversized":                {`{"probe": {"id": "1"}}` + strings.Repeat(" ", control.MaxMessage), 1, "larger than 64 KiB"},
	"too many descriptors":     {`{"probe": {"id": "1"}}`, control.MaxFDs + 1, "descriptors of a control message were lost"},
	"no listener":              {`{"activate": {"process_id": "x"}}`, 0, "activation without a listener"},
	"fewer descriptors":        {`{"activate": {"process_id": "x", "listeners": [{}, {}]}}`, 1, "activation with 1 descriptors instead of 2"},
	"more descriptors":         {`{"activate": {"process_id": "x", "listeners": [{}]}}`, 2, "activation with 2 descriptors instead of 1"},
	"descriptor is no socket":  {`{"activate": {"process_id": "x", "listeners": [{"name": "main"}]}}`, 1, `listener "main"`},
	"second of two is no good": {`{"activate": {"process_id": "x", "listeners": [{"name": "a"}, {"name": "b"}]}}`, 2, `listener "a"`},
}

// A standby gives up, so that another one can be activated at once.
func TestBadDatagramToStandby(t *testing.T) {
	for name, bad := range badDatagrams {
		t.Run(name, func(t *testing.T) {
			s := lines(t, nil).ready()
			fd, _ := witness(t)
			s.throw([]byte(bad.bytes), repeat(fd, bad.fds)...)
			require.Contains(t, s.fatal(), bad.want)
			s.exits(1)
		})
	}
}

// An active worker has clients: it says what came and goes on.
func TestBadDatagramToActive(t *testing.T) {
	e := listenOn(t, "unix")
	s := lines(t, nil).ready().activate(e, nil).active()
	c := e.dial(t)
	id := uint64(0)
	for name, bad := range badDatagrams {
		t.Run(name, func(t *testing.T) {
			fd, closedElsewhere := witness(t)
			s.throw([]byte(bad.bytes), repeat(fd, bad.fds)...)
			id++
			require.True(t, s.probe(id).Ok)
			require.Equal(t, "ns:acme:test 7  hello\n", ask(t, c, "hello"))
			closedElsewhere()
		})
	}
	s.retire()
	s.exits(0)
	require.Equal(t, len(badDatagrams), strings.Count(s.output.String(), "message of the supervisor is ignored"), "each is logged once")
}

func repeat(fd, times int) []int {
	fds := make([]int, times)
	for i := range fds {
		fds[i] = fd
	}
	return fds
}

// What a later version of the supervisor may send disturbs no worker.
func TestUnknownMessagesAreIgnored(t *testing.T) {
	e := listenOn(t, "unix")
	s := lines(t, nil).ready()
	fd, closedElsewhere := witness(t)
	s.throw([]byte(`{"resign": {"by": "tomorrow"}}`), fd)
	s.throw([]byte(`{"probe": {"id": "9", "mood": "good"}, "version": 2}`), fd)
	require.EqualValues(t, 9, s.hear().GetProbeResult().GetId())
	closedElsewhere()
	s.activate(e, nil).active()
	require.NotEmpty(t, askOnce(t, e, "hello"))
}

func TestActivationOutOfTurn(t *testing.T) {
	t.Run("before ready", func(t *testing.T) {
		s := lines(t, config{"warm": "hang"}).activate(listenOn(t, "unix"), nil)
		require.Contains(t, s.fatal(), "activation of a worker that is no standby")
		s.exits(1)
	})
	t.Run("twice", func(t *testing.T) {
		e, other := listenOn(t, "unix"), listenOn(t, "unix")
		s := lines(t, nil).ready().activate(e, nil).active()
		again := activation(other, nil)
		again.GetActivate().ProcessId, again.GetActivate().Epoch = "ns:other:test", 8
		s.tell(again, int(other.file.Fd()))
		p := s.probe(1)
		require.Equal(t, "ns:acme:test", p.ProcessId)
		require.EqualValues(t, 7, p.Epoch)
		require.Equal(t, "ns:acme:test 7  hello\n", askOnce(t, e, "hello"))
		// The other socket is nobody's now, once we close it.
		other.file.Close()
		other.Listener.Close()
	})
}

// The SDK survives a supervisor that does not read, and serves.
func TestSupervisorThatDoesNotRead(t *testing.T) {
	e := listenOn(t, "unix")
	s := lines(t, nil).ready().activate(e, nil).active()
	// More answers than the socket holds. Of probes that come together only the
	// last is answered, so each is given its time.
	for id := uint64(1); !strings.Contains(s.output.String(), "message to the supervisor is lost"); id++ {
		require.Less(t, id, uint64(10_000))
		s.tell(probe(id))
		<-time.After(time.Millisecond)
	}
	require.NotEmpty(t, askOnce(t, e, "hello"))
	s.tell(&understudyv1.ToWorker{Message: &understudyv1.ToWorker_Retire{Retire: &understudyv1.Retire{}}})
	s.exits(0)
}
