package supervisor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/shmregistry"
	"understudy/shmregistry/segment"
)

const tallySegments = "segments: [{name: state, size: 64KiB, on_death: handover}, {name: scratch, size: 4096, on_death: unlink, named: true}]"

// tallyManifest is a manifest of the tally; more is further lines.
func tallyManifest(t *testing.T, name, more string) string {
	exe, err := os.Executable()
	require.NoError(t, err)
	return fmt.Sprintf("name: %s\nprogram: %s\nenvironment: {%s: '1', GORACE: atexit_sleep_ms=0}\nisolation: namespace\ncrash_budget: {max: 0}\n%s\n",
		name, exe, tallyEnv, more)
}

func (d *daemon) segments(processID string) []*understudyv1.SegmentInfo {
	d.t.Helper()
	r, err := d.supervisor.ListSegments(d.ctx(), &understudyv1.ListSegmentsRequest{ProcessId: processID})
	require.NoError(d.t, err)
	return r.Segments
}

// kill ends the active worker of a binding, and waits for nothing.
func (d *daemon) kill(processID string) {
	d.t.Helper()
	_, err := d.supervisor.SignalWorker(d.ctx(), &understudyv1.SignalWorkerRequest{ProcessId: processID, Signal: int32(unix.SIGKILL)})
	require.NoError(d.t, err)
}

// What a worker kept in a handover segment is its successor's; an unlink
// segment dies with it; nothing outlives the binding.
func TestSegmentsAreHandedOver(t *testing.T) {
	d := startDaemon(t, map[string]string{"tally": tallyManifest(t, "tally", tallySegments)})
	acme, other := d.launch("tally", "acme"), d.launch("tally", "other")
	_, _, n := d.count(other.Address, "count")
	require.EqualValues(t, 1, n)
	seen := map[string]bool{}
	for i := range uint64(5) {
		_, epoch, n := d.count(acme.Address, "count")
		require.Equal(t, i+1, epoch)
		require.Equal(t, 2*i+1, n)
		_, _, n = d.count(acme.Address, "count")
		require.Equal(t, 2*i+2, n)
		var paths []string
		for _, s := range d.segments(acme.ProcessId) {
			if s.Path != "" {
				require.FileExists(t, s.Path)
				paths = append(paths, s.Path)
				seen[s.Path] = true
			}
		}
		require.NotEmpty(t, paths)
		d.eventually(d.full)
		d.kill(acme.ProcessId)
		d.eventually(func() error { // those of the dead epoch
			for _, path := range paths {
				if _, err := os.Stat(path); err == nil && strings.Contains(path, fmt.Sprintf(".%d.scratch", epoch)) {
					return fmt.Errorf("%s is still there", path)
				}
			}
			return nil
		})
	}
	b, err := d.supervisor.GetBinding(d.ctx(), &understudyv1.GetBindingRequest{ProcessId: acme.ProcessId})
	require.NoError(t, err)
	require.GreaterOrEqual(t, b.Segments, int32(2))
	require.GreaterOrEqual(t, b.SegmentBytes, uint64(64<<10+4096))

	r, err := d.launcher.TerminatePattern(d.ctx(), &launcher.TerminateRequest{ProcessId: acme.ProcessId})
	require.NoError(t, err)
	require.True(t, r.Success, r.Error)
	require.Empty(t, d.segments(acme.ProcessId))
	for path := range seen {
		require.NoFileExists(t, path)
	}
	_, _, n = d.count(other.Address, "count")
	require.EqualValues(t, 2, n, "another tenant was disturbed")

	// The same key again begins anew.
	again := d.launch("tally", "acme")
	_, epoch, n := d.count(again.Address, "count")
	require.EqualValues(t, 1, n)
	require.Greater(t, epoch, uint64(5))
	d.stopClean()
}

// Another program opens a segment by its path. What it does to the name, as
// Python's resource tracker does, is undone, counted and told.
func TestANamedSegmentKeepsItsName(t *testing.T) {
	d := startDaemon(t, map[string]string{"tally": tallyManifest(t, "tally", tallySegments)})
	r := d.launch("tally", "acme")
	_, _, n := d.count(r.Address, "count")
	require.EqualValues(t, 1, n)
	events, err := d.supervisor.WatchEvents(d.ctx(), &understudyv1.WatchEventsRequest{})
	require.NoError(t, err)
	_, err = events.Header() // it is subscribed
	require.NoError(t, err)
	var path string
	for _, s := range d.segments(r.ProcessId) {
		if s.Path != "" && s.State == string(shmregistry.Active) {
			path = s.Path
		}
	}
	require.Regexp(t, `^/dev/shm/[a-zA-Z0-9._-]{1,96}$`, path)
	s, err := segment.Open(path)
	require.NoError(t, err)
	defer s.Close()

	require.NoError(t, os.Remove(path))
	for {
		e, err := events.Recv()
		require.NoError(t, err)
		if strings.Contains(e.Message, path) {
			require.Contains(t, e.Message, "segment scratch of "+r.ProcessId+": named again")
			break
		}
	}
	again, err := segment.Open(path)
	require.NoError(t, err)
	defer again.Close()
	s.Data()[0]++
	require.Equal(t, s.Data()[0], again.Data()[0], "the same segment")
	require.True(t, slices.ContainsFunc(d.segments(r.ProcessId), func(s *understudyv1.SegmentInfo) bool { return s.Path == path }))
	st, err := d.supervisor.GetStatus(d.ctx(), &understudyv1.GetStatusRequest{})
	require.NoError(t, err)
	require.EqualValues(t, 1, st.ReconcileRepairs)
	d.stopClean()
}

func TestSegmentBeyondTheLimit(t *testing.T) {
	d := startDaemon(t, map[string]string{
		"tally": tallyManifest(t, "tally", tallySegments),
		"large": tallyManifest(t, "large", "segments: [{name: scratch, size: 4096, on_death: unlink}, {name: state, size: 2GiB, on_death: handover}]"),
	})
	_, err := d.launcher.LaunchPattern(d.ctx(), &launcher.LaunchRequest{PatternName: "large", Namespace: "acme"})
	require.Equal(t, codes.Internal, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "ns:acme:large")
	require.ErrorContains(t, err, "over the limit of shared memory")
	require.Empty(t, d.segments("ns:acme:large"))
	r := d.launch("tally", "acme")
	_, _, n := d.count(r.Address, "count")
	require.EqualValues(t, 1, n)
	d.stopClean()
}

// What a worker made by itself and left is removed, where that is proven safe.
func TestWhatWorkersLeftIsRemoved(t *testing.T) {
	d := startDaemon(t, map[string]string{"tally": tallyManifest(t, "tally", tallySegments+"\nadopt: remove")})
	r := d.launch("tally", "acme")
	if f := d.leakFeature(); !f.Best {
		t.Skipf("nothing is removed here: %s", f.Why)
	}
	name := fmt.Sprintf("tally-%d", d.pid())
	foreign := "/dev/shm/" + name + "-foreign"
	require.NoError(t, os.WriteFile(foreign, nil, 0o600))
	defer os.Remove(foreign)
	d.count(r.Address, "leave "+name)
	d.eventually(func() error {
		b, err := d.supervisor.GetBinding(d.ctx(), &understudyv1.GetBindingRequest{ProcessId: r.ProcessId})
		if err == nil && (b.OwnObjects != 1 || b.OwnBytes != 4096) {
			err = fmt.Errorf("%d objects of %d bytes are the worker's own", b.OwnObjects, b.OwnBytes)
		}
		return err
	})
	d.kill(r.ProcessId)
	d.eventually(func() error {
		if _, err := os.Stat("/dev/shm/" + name); err == nil {
			return fmt.Errorf("%s is still there", name)
		}
		return nil
	})
	require.FileExists(t, foreign)
	d.stopClean()
}

func (d *daemon) leakFeature() *understudyv1.Feature {
	d.t.Helper()
	st, err := d.supervisor.GetStatus(d.ctx(), &understudyv1.GetStatusRequest{})
	require.NoError(d.t, err)
	i := slices.IndexFunc(st.Features, func(f *understudyv1.Feature) bool { return f.Name == "shared-memory leaks" })
	require.GreaterOrEqual(d.t, i, 0)
	return st.Features[i]
}

// watching counts the descriptors by which the daemon is woken for what others
// do in directories.
func (d *daemon) watching() (n int) {
	d.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", d.pid())
	fds, err := os.ReadDir(dir)
	require.NoError(d.t, err)
	for _, fd := range fds {
		to, _ := os.Readlink(filepath.Join(dir, fd.Name()))
		if to == "anon_inode:[fanotify]" || to == "anon_inode:inotify" {
			n++
		}
	}
	return n
}

// The directory of shared memory is watched only while there is a worker whose
// pattern asks for it.
func TestLeaksAreLookedForOnlyWhereAPatternAsks(t *testing.T) {
	const segments = "segments: [{name: state, size: 64KiB, on_death: handover}, {name: scratch, size: 4096, on_death: unlink}]" // without names, which are watched
	d := startDaemon(t, map[string]string{
		"tally": tallyManifest(t, "tally", segments),
		"asks":  tallyManifest(t, "asks", segments+"\nadopt: report\nspares: {min: 0, max: 0}"),
	})
	d.launch("tally", "acme")
	others := d.watching() // it watches other directories
	require.Contains(t, d.leakFeature().InUse, "no pattern has adopt")

	r := d.launch("asks", "acme")
	require.Greater(t, d.watching(), others)
	require.NotContains(t, d.leakFeature().InUse, "no pattern has adopt")

	_, err := d.launcher.TerminatePattern(d.ctx(), &launcher.TerminateRequest{ProcessId: r.ProcessId})
	require.NoError(t, err)
	d.eventually(func() error {
		if n := d.watching(); n > others {
			return fmt.Errorf("%d watches, before there were %d", n, others)
		}
		return nil
	})
	require.Contains(t, d.leakFeature().InUse, "no pattern has adopt")
	d.launch("asks", "acme")
	require.Greater(t, d.watching(), others)
	d.stopClean()
}

// A worker that outlives its supervisor may still write: the next supervisor's
// first worker has a higher epoch, so that the two are told apart.
func TestEpochRisesOverAKilledSupervisor(t *testing.T) {
	d := startDaemon(t, map[string]string{"tally": tallyManifest(t, "tally", tallySegments)})
	r := d.launch("tally", "acme")
	pid, first, _ := d.count(r.Address, "count")
	worker, err := os.FindProcess(pid)
	require.NoError(t, err)
	defer worker.Kill()
	d.eventually(func() error { // the file is written behind the launch
		entries, err := shmregistry.ReadFile(d.path("state/segments.json"))
		if err == nil && !slices.ContainsFunc(entries, func(e shmregistry.Entry) bool { return e.Owner.PID == pid }) {
			err = fmt.Errorf("the registry's file does not know worker %d", pid)
		}
		return err
	})
	d.restart()
	require.NoError(t, worker.Signal(unix.Signal(0)), "it lives")
	again := d.launch("tally", "acme")
	_, epoch, n := d.count(again.Address, "count")
	require.Greater(t, epoch, first)
	require.EqualValues(t, 2, n, "its work goes on")
	require.NoError(t, worker.Kill())
	d.stopClean()
}

// A supervisor that was killed and started again knows which segments are whose.
func TestSegmentsOverARestart(t *testing.T) {
	d := startDaemon(t, map[string]string{"tally": tallyManifest(t, "tally", tallySegments)})
	r := d.launch("tally", "acme")
	pid, _, _ := d.count(r.Address, "count")
	var path string
	for _, s := range d.segments(r.ProcessId) {
		if s.Path != "" && s.OwnerPid == int32(pid) {
			path = s.Path
		}
	}
	require.FileExists(t, path)
	worker, err := os.FindProcess(pid)
	require.NoError(t, err)
	d.restart()
	defer worker.Kill()
	require.FileExists(t, path, "its worker lives")
	swept, err := d.supervisor.SweepSegments(d.ctx(), &understudyv1.SweepSegmentsRequest{})
	require.NoError(t, err)
	for _, s := range swept.Segments {
		require.NotEqual(t, path, s.Path)
	}
	require.FileExists(t, path)

	require.NoError(t, worker.Kill())
	d.eventually(func() error {
		if _, err := d.supervisor.SweepSegments(d.ctx(), &understudyv1.SweepSegmentsRequest{}); err != nil {
			return err
		}
		if _, err := os.Stat(path); err == nil {
			return fmt.Errorf("%s is still there", path)
		}
		return nil
	})
	again := d.launch("tally", "acme")
	_, _, n := d.count(again.Address, "count")
	require.EqualValues(t, 1, n)
	require.Empty(t, d.segments("ns:nobody:tally"))
	d.stopClean()
}
