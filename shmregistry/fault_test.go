package shmregistry_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"understudy/internal/dirlock"
	"understudy/shmregistry"
	"understudy/shmregistry/segment"
)

// leave makes a named handover segment with contents, closes the registry, and
// returns its file.
func leave(t *testing.T, p place) (file string) {
	t.Helper()
	r := p.open(t)
	_, mapped := mustPrepare(t, r, "b", 1, shared)
	copy(mapped[0].Data(), "by name")
	require.NoError(t, mapped[0].Close())
	require.NoError(t, r.Close())
	return filepath.Join(p.state, shmregistry.FileName)
}

func TestADamagedFileIsKeptAsideAndWorkGoesOn(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"emptied":            func(b []byte) []byte { return nil },
		"cut in the middle":  func(b []byte) []byte { return b[:len(b)/2] },
		"last byte lost":     func(b []byte) []byte { return b[:len(b)-3] },
		"zeros":              func(b []byte) []byte { return make([]byte, len(b)) },
		"not an object":      func(b []byte) []byte { return []byte(`[1, 2]`) },
		"no version":         func(b []byte) []byte { return []byte(`{"segments": []}`) },
		"other types":        func(b []byte) []byte { return []byte(strings.Replace(string(b), `"size": 8000`, `"size": "much"`, 1)) },
		"an impossible size": func(b []byte) []byte { return []byte(strings.Replace(string(b), `"size": 8000`, `"size": -1`, 1)) },
		"no instance":        func(b []byte) []byte { return []byte(strings.Replace(string(b), `"instance": "`, `"instance": "z`, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			file := leave(t, p)
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			damaged := damage(b)
			require.NoError(t, os.WriteFile(file, damaged, 0o600))
			_, err = shmregistry.ReadFile(file)
			require.ErrorIs(t, err, shmregistry.ErrDamaged)
			require.ErrorContains(t, err, file)

			r := p.open(t)
			require.EqualValues(t, 1, r.Totals().Damaged)
			aside, err := filepath.Glob(file + ".bad-*")
			require.NoError(t, err)
			require.Len(t, aside, 1)
			kept, err := os.ReadFile(aside[0])
			require.NoError(t, err)
			require.Equal(t, string(damaged), string(kept))

			require.Equal(t, "shared+:1:stray", states(r.List()))
			_, mapped := mustPrepare(t, r, "b", 2, shared)
			require.Equal(t, "by name", string(mapped[0].Data()[:7]), "the work is not lost with the file")
			require.NoError(t, r.Sync())
			_, err = shmregistry.ReadFile(file)
			require.NoError(t, err)
		})
	}
}

func TestEveryCutOfTheFileIsSurvived(t *testing.T) {
	p := newPlace(t)
	file := leave(t, p)
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	for n := range len(b) - 2 { // the last two are "}" and a line's end
		if n%8 > 0 && !strings.ContainsRune(`{}[]:,"`, rune(b[n])) {
			continue // within a word or a number each eighth will do
		}
		require.NoError(t, os.WriteFile(file, b[:n], 0o600))
		r, err := shmregistry.Open(p.config())
		require.NoError(t, err, n)
		require.Equal(t, "shared+:1:stray", states(r.List()), n)
		require.NoError(t, r.Close())
	}
}

func TestAFileThatLiesIsBelievedInNothing(t *testing.T) {
	p := newPlace(t)
	file := leave(t, p)
	victim := filepath.Join(t.TempDir(), "victim")
	require.NoError(t, os.WriteFile(victim, []byte("somebody's"), 0o600))
	var c map[string]any
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &c))
	entry := c["segments"].([]any)[0].(map[string]any)
	for _, path := range []string{victim, "../../" + victim, p.shm} {
		entry["path"] = path
		entry["policy"] = "unlink"
		b, err = json.Marshal(c)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, b, 0o600))
		r := p.open(t)
		require.Equal(t, "shared+:1:stray", states(r.List()), "the segment's own word counts")
		require.EqualValues(t, 2, r.Totals().Repaired, "one entry forgotten, one segment taken in")
		r.Died("b", 100)
		r.Remove("nobody")
		require.NoError(t, r.Close())
		require.FileExists(t, victim)
	}
}

func TestAFileOfANewerVersionIsLeftAlone(t *testing.T) {
	p := newPlace(t)
	file := leave(t, p)
	newer := `{"version": 2, "segments": {"in": "another shape"}}`
	require.NoError(t, os.WriteFile(file, []byte(newer), 0o600))
	_, err := shmregistry.Open(p.config())
	require.ErrorIs(t, err, shmregistry.ErrVersion)
	require.ErrorContains(t, err, file+" has version 2, this program knows 1")
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, newer, string(b))
	require.Len(t, p.names(t), 1)
	_, err = shmregistry.ReadFile(file)
	require.ErrorIs(t, err, shmregistry.ErrVersion)
}

func TestTheSecondSupervisorIsRefused(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	_, err := shmregistry.Open(p.config())
	require.ErrorIs(t, err, dirlock.ErrLocked)
	require.ErrorContains(t, err, p.state)
	require.NoError(t, r.Close())
	p.open(t)
}

func TestAStateDirectoryThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := shmregistry.Open(shmregistry.Config{StateDir: file})
	require.ErrorContains(t, err, file)
	_, err = shmregistry.Open(shmregistry.Config{})
	require.ErrorContains(t, err, "without a state directory")
	p := newPlace(t)
	require.NoError(t, os.Mkdir(filepath.Join(p.state, shmregistry.FileName), 0o700))
	_, err = shmregistry.Open(p.config())
	require.ErrorContains(t, err, "is a directory")
}

func TestReconcileActsForAnOwnerWhoseDeathNobodyTold(t *testing.T) {
	p := newPlace(t)
	r := p.open(t)
	mustPrepare(t, r, "b", 1, work, scratch, window)
	w := startWorker(t)
	r.Activated("b", 1, w.owner)
	require.Zero(t, r.Reconcile())
	w.kill()
	require.Zero(t, r.Reconcile(), "it may be being told")
	require.Equal(t, 3, r.Reconcile())
	require.Equal(t, "work:1:orphaned", states(r.List()))
	require.Empty(t, p.names(t))
	require.Zero(t, r.Reconcile())
}

func TestReconcileTakesInAndRemovesStrays(t *testing.T) {
	p := newPlace(t)
	file := leave(t, p)
	require.NoError(t, os.Remove(file))
	r := p.open(t)
	path := r.List()[0].Path
	held, err := segment.Open(path)
	require.NoError(t, err)
	for range 3 {
		require.Zero(t, r.Reconcile())
	}
	require.Equal(t, "shared+:1:stray", states(r.List()), "somebody has it open")
	require.NoError(t, held.Close())
	require.Equal(t, 1, r.Reconcile())
	require.Empty(t, r.List())
	require.Empty(t, p.names(t))
}

func TestAMissingSharedMemoryDirectory(t *testing.T) {
	p := newPlace(t)
	require.NoError(t, os.RemoveAll(p.shm))
	r := p.open(t)
	_, err := r.Prepare("b", 1, []shmregistry.Spec{work, shared})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, p.shm)
	require.Empty(t, r.List())
	mustPrepare(t, r, "b", 1, work) // which needs no name
}

func TestAnOwnerIsOneProcess(t *testing.T) {
	w := startWorker(t)
	require.True(t, w.owner.Alive())
	for _, change := range []func(o *shmregistry.Owner){
		func(o *shmregistry.Owner) { o.Start++ },
		func(o *shmregistry.Owner) { o.BootID = "another boot" },
		func(o *shmregistry.Owner) { o.PID = 0 },
		func(o *shmregistry.Owner) { o.PID = 1 << 30 },
	} {
		o := w.owner
		change(&o)
		require.False(t, o.Alive(), o)
	}
	require.NoError(t, w.cmd.Process.Kill())
	// It ends, and stays a zombie.
	require.NoError(t, unix.Waitid(unix.P_PID, w.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
	require.False(t, w.owner.Alive())
	w.kill()
	require.False(t, w.owner.Alive())
	_, err := shmregistry.OwnerOf(1 << 30)
	require.ErrorContains(t, err, "naming process 1073741824")
}

func TestAfterClose(t *testing.T) {
	r := newPlace(t).open(t)
	mustPrepare(t, r, "b", 1, work)
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	_, err := r.Prepare("b", 1, []shmregistry.Spec{work})
	require.ErrorIs(t, err, shmregistry.ErrClosed)
	_, err = r.Sweep(false)
	require.ErrorIs(t, err, shmregistry.ErrClosed)
	r.Activated("b", 1, shmregistry.Owner{})
	r.Died("b", 1)
	r.Remove("b")
	require.Zero(t, r.Reconcile())
	require.Len(t, r.List(), 1)
}
