package takeover

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/sentinel"
)

// TestRunGoesThroughAllEffects: a step can ask for several activations at once.
// Where the first standby has closed its end, carrying that one out adds others
// while the rest is still to be done. Each binding gets one standby, each
// standby one binding.
func TestRunGoesThroughAllEffects(t *testing.T) {
	const bindings, standbys = 3, 5
	timer, err := newTimer()
	require.NoError(t, err)
	socket, events := socketpair(t)
	e := &engine{state: newState(), sentinel: &sentinel.Sentinel{}, workers: map[WorkerID]*handles{}, reports: newReports(socket),
		delay: reportDelay{timer: -1}, retries: retryTimer{timer: timer}}
	t.Cleanup(func() { unix.Close(timer) })
	for b := BindingID(1); b <= bindings; b++ { // they wait for a retry
		p := &plan{binding: b, epoch: 1, pool: 1}
		p.actions = []action{{kind: actionSend, message: newMessage([]byte{byte(b)}, nil)}}
		require.True(t, e.state.arm(p))
		e.state.postpone(0, p, uint32(unix.ENOBUFS), false)
		e.state.stack(1).waiting = without(e.state.stack(1).waiting, p) // arm let it wait already
	}
	ends := map[WorkerID]int{}
	for w := WorkerID(1); w <= standbys; w++ {
		ours, theirs := socketpair(t)
		e.workers[w], ends[w] = &handles{control: ours, doom: -1, procs: -1}, theirs
		e.state.watch(w)
		e.state.offer(w, 1)
	}
	e.run()
	for _, w := range []WorkerID{standbys, standbys - 1} { // those that come first
		require.NoError(t, unix.Shutdown(ends[w], unix.SHUT_RDWR))
	}
	e.state.retry()
	activated, _ := e.run()
	require.True(t, activated)
	got := map[byte]WorkerID{}
	for w, end := range ends {
		b := make([]byte, 8)
		n, err := unix.Read(end, b)
		if err != nil || n == 0 {
			continue
		}
		require.Equal(t, 1, n)
		require.Zero(t, got[b[0]], "binding %d was given to two", b[0])
		got[b[0]] = w
		_, err = unix.Read(end, b)
		require.Equal(t, unix.EAGAIN, err, "standby %d was given to two", w)
	}
	require.Len(t, got, bindings)
	e.flush()
	told := map[EventKind]int{}
	for b := make([]byte, maxCommand); ; {
		n, err := unix.Read(events, b)
		if err != nil {
			break
		}
		ev, err := parseEvent(b[:n])
		require.NoError(t, err)
		told[ev.Kind]++
		if ev.Kind == Activated {
			require.Equal(t, got[byte(ev.Binding)], ev.Worker)
		}
	}
	require.Equal(t, bindings, told[Activated])
	require.Equal(t, 2, told[Lost])
}

func socketpair(t *testing.T) (a, b int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	return pair[0], pair[1]
}
