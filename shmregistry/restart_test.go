package shmregistry_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/shmregistry"
)

func TestARestartFindsWhatLivingWorkersHave(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	prepared, mapped := mustPrepare(t, r, "b", 1, work, scratch, shared, window)
	w := startWorker(t, prepared...)
	r.Activated("b", 1, w.owner)
	copy(mapped[0].Data(), "in memory")
	copy(mapped[2].Data(), "by name")
	before := r.List()
	require.NoError(t, r.Close())

	onDisk, err := shmregistry.ReadFile(filepath.Join(p.state, shmregistry.FileName))
	require.NoError(t, err)
	require.Equal(t, before, onDisk)

	r = p.open(t)
	require.Equal(t, before, r.List())
	require.Zero(t, r.Totals().Repaired)
	r.Activated("b", 1, w.owner)
	_, mapped = mustPrepare(t, r, "b", 2, work, scratch, shared, window)
	require.Equal(t, "in memory", string(mapped[0].Data()[:9]))
	require.Equal(t, "by name", string(mapped[2].Data()[:7]))
	require.Zero(t, r.Reconcile())
	require.Zero(t, r.Totals().Lost)
}

func TestWhatTheFileNeverLearntIsFetchedFromTheWorker(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	prepared, mapped := mustPrepare(t, r, "b", 1, work)
	w := startWorker(t, prepared...)
	copy(mapped[0].Data(), "in memory")
	require.NoError(t, r.Close()) // Activated was never said

	require.NoError(t, os.Remove(filepath.Join(p.state, shmregistry.FileName)))
	r = p.open(t)
	require.Equal(t, "work:1:active", states(r.List()))
	require.Equal(t, w.owner, r.List()[0].Owner)
	_, mapped = mustPrepare(t, r, "b", 2, work)
	require.Equal(t, "in memory", string(mapped[0].Data()[:9]))
}

// A supervisor that is killed in the middle of a failover leaves a file that
// names the dead worker; the one that took over has the segment.
func TestTheFileNamesADeadOwnerAndALivingOneHasIt(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	prepared, mapped := mustPrepare(t, r, "b", 1, work)
	first := startWorker(t, prepared...)
	r.Activated("b", 1, first.owner)
	copy(mapped[0].Data(), "in memory")
	prepared, mapped = mustPrepare(t, r, "b", 2, work)
	second := startWorker(t, prepared...)
	require.NoError(t, mapped[0].Raise(2))
	first.kill()
	require.NoError(t, r.Close())

	r = p.open(t)
	require.Equal(t, "work:2:active", states(r.List()))
	require.Equal(t, second.owner, r.List()[0].Owner)
	require.Zero(t, r.Totals().Lost)
	require.EqualValues(t, 2, r.LastEpoch("b"))
	require.True(t, r.HoldsWork("b"))
	_, mapped = mustPrepare(t, r, "b", 3, work)
	require.Equal(t, "in memory", string(mapped[0].Data()[:9]))
}

// What was made ahead for a worker that never came is of no use after a
// restart; what a worker has written stays, though no file tells of it.
func TestARestartTellsWorkFromWhatWasMadeAhead(t *testing.T) {
	for _, lost := range []bool{false, true} {
		p := newPlace(t)
		r := p.open(t)
		_, mapped := mustPrepare(t, r, "worked", 1, shared)
		require.NoError(t, mapped[0].Raise(1))
		_, ahead := mustPrepare(t, r, "ahead", 1, shared, window)
		require.True(t, r.HoldsWork("worked"))
		require.False(t, r.HoldsWork("ahead"))
		require.NoError(t, r.Close())
		for _, s := range append(mapped, ahead...) {
			require.NoError(t, s.Close())
		}
		if lost {
			require.NoError(t, os.Remove(filepath.Join(p.state, shmregistry.FileName)))
		}
		r = p.open(t)
		require.Len(t, r.List(), 3)
		r.Reconcile()
		r.Reconcile()
		require.Equal(t, "shared+:1:orphaned", states(r.List()), "file lost: %v", lost)
		require.Len(t, p.names(t), 1)
		require.NoError(t, r.Close())
	}
}

func TestAMemfdIsFetchedFromAMappingAlone(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/map_files"); err != nil {
		t.Skipf("/proc/PID/map_files cannot be read: %v", err)
	}
	p := newPlace(t)
	r := p.open(t)
	prepared, mapped := mustPrepare(t, r, "b", 1, work)
	copy(mapped[0].Data(), "in memory")
	cmd := role("mapper")
	ready, says, err := os.Pipe()
	require.NoError(t, err)
	defer ready.Close()
	cmd.Stdout = says
	w := startRole(t, cmd, prepared...)
	require.NoError(t, says.Close())
	_, err = ready.Read(make([]byte, 10))
	require.NoError(t, err)
	r.Activated("b", 1, w.owner)
	require.NoError(t, r.Close())

	r = p.open(t)
	if r.Totals().Lost == 1 && os.Getuid() != 0 {
		t.Skip("files cannot be opened through /proc/PID/map_files without CAP_CHECKPOINT_RESTORE")
	}
	require.Equal(t, "work:1:active", states(r.List()))
	_, again := mustPrepare(t, r, "b", 2, work)
	require.Equal(t, "in memory", string(again[0].Data()[:9]))
}

func TestWorkersThatDiedWithTheSupervisor(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	prepared, mapped := mustPrepare(t, r, "b", 1, work, scratch, shared, window)
	w := startWorker(t, prepared...)
	r.Activated("b", 1, w.owner)
	copy(mapped[2].Data(), "by name")
	require.NoError(t, r.Close())
	w.kill()
	for _, s := range mapped {
		require.NoError(t, s.Close())
	}

	r = p.open(t)
	require.Equal(t, "shared+:1:orphaned", states(r.List()))
	require.Len(t, p.names(t), 1)
	totals := r.Totals()
	require.EqualValues(t, 1, totals.Lost, "the memfd with the work went with the last who had it")
	require.EqualValues(t, 1, totals.Repaired)
	_, mapped = mustPrepare(t, r, "b", 2, work, shared)
	require.Zero(t, mapped[0].Data()[0])
	require.Equal(t, "by name", string(mapped[1].Data()[:7]))
}

func TestSweepTakesWhatNobodyAsksFor(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	_, gone := mustPrepare(t, r, "gone", 1, shared, window)
	mustPrepare(t, r, "stays", 1, shared)
	held, mapped := mustPrepare(t, r, "held", 1, shared)
	w := startWorker(t, held...)
	for _, s := range append(gone, mapped...) {
		require.NoError(t, s.Close())
	}
	require.NoError(t, r.Close())

	alike := filepath.Join(p.shm, p.names(t)[0]+"x")
	foreign := filepath.Join(p.shm, "psm_01234567")
	require.NoError(t, os.WriteFile(foreign, make([]byte, 8192), 0o600))
	require.NoError(t, os.WriteFile(alike, make([]byte, 8192), 0o600))

	r = p.open(t)
	mustPrepare(t, r, "stays", 2, shared)
	would, err := r.Sweep(true)
	require.NoError(t, err)
	require.Equal(t, "shared+:1:stray window+:1:stray", states(would))
	require.Len(t, p.names(t), 6)
	did, err := r.Sweep(false)
	require.NoError(t, err)
	require.Equal(t, would, did)
	require.Len(t, p.names(t), 4)
	require.FileExists(t, foreign)
	require.FileExists(t, alike)

	w.kill()
	did, err = r.Sweep(false)
	require.NoError(t, err)
	require.Len(t, did, 1)
	require.Equal(t, "held", did[0].Binding)
	require.Equal(t, "stays", r.List()[0].Binding)
	require.EqualValues(t, 1, r.Totals().Foreign, "named as ours are, and left alone")
}
