package supervisor_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"understudy/pool"
	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
)

// limit returns one row of the limits that the status shows.
func (d *daemon) limit(name string) *understudyv1.Limit {
	d.t.Helper()
	st, err := d.supervisor.GetStatus(d.ctx(), &understudyv1.GetStatusRequest{})
	require.NoError(d.t, err)
	for _, l := range st.Limits {
		if l.Name == name {
			return l
		}
	}
	require.Fail(d.t, "no such limit", "%s in %v", name, st.Limits)
	return nil
}

// A supervisor that has no descriptors for more refuses launches in time, and
// says so: what runs goes on, failovers and the API included.
func TestLaunchesBeyondTheDescriptorsAreRefused(t *testing.T) {
	d := startDaemon(t, map[string]string{"echo": echoManifest(t, "echo", "spares: {min: 1, max: 1}")})
	d.eventually(d.full)
	before := d.limit("file descriptors")
	// As a lower hard limit at the start, but this test knows now what is in use.
	most := uint64(before.Used) + 120
	require.NoError(t, unix.Prlimit(d.pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most}, nil))

	var refused error
	var bound []string
	for n := 0; refused == nil; n++ {
		require.Less(t, n, 100)
		r, err := d.launcher.LaunchPattern(d.ctx(), &launcher.LaunchRequest{PatternName: "echo", Namespace: fmt.Sprint("n", n)})
		if refused = err; err == nil {
			bound = append(bound, r.ProcessId)
		}
	}
	require.Equal(t, codes.ResourceExhausted, status.Code(refused), "%v", refused)
	require.ErrorContains(t, refused, "file descriptors")
	require.NotEmpty(t, bound)
	full := d.limit("file descriptors")
	require.EqualValues(t, most, full.Max)
	require.Less(t, full.Used, full.Max)
	require.EqualValues(t, 1, full.Refused)
	require.Equal(t, d.limit("workers").Used, d.limit("workers that fit into them").Used)
	require.EqualValues(t, len(bound), d.limit("bindings").Used)
	st, err := d.supervisor.GetStatus(d.ctx(), &understudyv1.GetStatusRequest{})
	require.NoError(t, err)
	require.Contains(t, strings.Join(st.Warnings, "\n"), "raise the hard limit")

	was, err := d.supervisor.GetBinding(d.ctx(), &understudyv1.GetBindingRequest{ProcessId: bound[0]})
	require.NoError(t, err)
	require.NoError(t, unix.Kill(int(was.Pid), unix.SIGKILL))
	d.eventually(func() error { // without a standby: its own end makes room
		b, err := d.supervisor.GetBinding(d.ctx(), &understudyv1.GetBindingRequest{ProcessId: bound[0]})
		if err != nil || b.Pid == was.Pid || b.State != "active" {
			return fmt.Errorf("not failed over: %v, %v", b, err)
		}
		return nil
	})
	_, err = d.launcher.TerminatePattern(d.ctx(), &launcher.TerminateRequest{ProcessId: bound[0], Force: true})
	require.NoError(t, err)
	d.eventually(func() error { // its descriptors are free when it is reaped
		_, err := d.launcher.LaunchPattern(d.ctx(), &launcher.LaunchRequest{PatternName: "echo", Namespace: "later"})
		return err
	})
	d.stopClean()
}

// What a worker takes is what the estimate counts with.
func TestWorkersTakeTheDescriptorsOfTheEstimate(t *testing.T) {
	d := startDaemon(t, map[string]string{"echo": echoManifest(t, "echo", "spares: {min: 1, max: 1}")})
	room := func() int64 {
		d.eventually(d.full)
		l := d.limit("workers that fit into them")
		return l.Max
	}
	before := room()
	const more = 8
	for n := range more {
		d.launch("echo", fmt.Sprint("n", n))
	}
	// Each took one descriptor for its binding beside those of its worker.
	require.InDelta(t, before-more/pool.WorkerDescriptors, room(), 1)
	hard := &unix.Rlimit{}
	require.NoError(t, unix.Prlimit(d.pid(), unix.RLIMIT_NOFILE, nil, hard))
	require.EqualValues(t, hard.Max, d.limit("file descriptors").Max)
	d.stopClean()
}
