package shmregistry_test

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/shmregistry"
	"understudy/shmregistry/segment"
)

var kills = flag.Int("kills", 40, "how many registries the kill test kills")

// churner opens a registry and has segments made, handed over and removed
// without end, until it is killed. The names of its bindings are short and
// long, so the file's size changes.
func churner() {
	r, err := shmregistry.Open(shmregistry.Config{StateDir: os.Getenv("STATE"), ShmDir: os.Getenv("SHM")})
	if err != nil {
		fmt.Fprintln(os.Stderr, "churner:", err)
		os.Exit(3)
	}
	me, err := shmregistry.OwnerOf(os.Getpid())
	if err != nil {
		fmt.Fprintln(os.Stderr, "churner:", err)
		os.Exit(3)
	}
	fmt.Println("ready")
	for epoch := uint64(1); ; epoch++ {
		binding := "b" + strings.Repeat("x", int(epoch%7)*20)
		for e := epoch; e < epoch+3; e++ {
			if _, err := r.Prepare(binding, e, []shmregistry.Spec{shared, window, work, scratch}); err != nil {
				fmt.Fprintln(os.Stderr, "churner:", err)
				os.Exit(3)
			}
			r.Activated(binding, e, me)
			r.Died(binding, e-1)
		}
		if epoch%3 == 0 {
			r.Remove(binding)
		}
	}
}

// TestNoKillTearsTheFile kills one registry after the other at some instant of
// its work. The file is whole each time, and the next registry knows of every
// name that is there, and of none that is not.
func TestNoKillTearsTheFile(t *testing.T) {
	p := newPlace(t)
	file := filepath.Join(p.state, shmregistry.FileName)
	begin := time.Now()
	var entries, strays int
	for n := range *kills {
		cmd := role("churner", "STATE="+p.state, "SHM="+p.shm)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		if n%4 != 0 { // else it is killed on its way to there
			_, err = bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
		}
		until := time.After(time.Duration(rand.IntN(4000)) * time.Microsecond) // some instant
		<-until
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		require.Equal(t, -1, cmd.ProcessState.ExitCode(), "it gave up")

		onDisk, err := shmregistry.ReadFile(file)
		if !errors.Is(err, fs.ErrNotExist) || n > 0 {
			require.NoError(t, err)
		}
		entries += len(onDisk)
		if n%10 != 0 { // mostly the next victim has to cope with it
			continue
		}
		r := p.open(t)
		totals := r.Totals()
		require.Zero(t, totals.Damaged)
		require.Zero(t, totals.Foreign)
		strays += int(totals.Taken)
		known := map[string]bool{}
		for _, e := range r.List() {
			if e.Path != "" {
				known[filepath.Base(e.Path)] = true
			}
			require.NotEqual(t, shmregistry.Active, e.State, "its owner is dead")
		}
		for _, name := range p.names(t) {
			require.True(t, known[name], name)
			delete(known, name)
			s, err := segment.Open(filepath.Join(p.shm, name))
			require.NoError(t, err, "a name stands for a whole segment")
			require.NoError(t, s.Close())
		}
		require.Empty(t, known)
		_, err = r.Sweep(false)
		require.NoError(t, err)
		require.Empty(t, p.names(t), "nothing is left of the dead")
		require.Empty(t, r.List())
		require.NoError(t, r.Close())
		left, err := os.ReadDir(p.shm)
		require.NoError(t, err)
		require.Empty(t, left, "the folder of second names is gone with the last")
	}
	leftovers, err := os.ReadDir(p.state)
	require.NoError(t, err)
	require.LessOrEqual(t, len(leftovers), 5, "the file, the identity, the lock, and at most one begun copy of each")
	t.Logf("%d registries killed in %v; %s entries read, %d of the segments were unknown to the file",
		*kills, time.Since(begin).Round(time.Millisecond), strconv.Itoa(entries), strays)
}

// TestAKillBetweenMakingAndRegistering is the worst instant: the segment is
// there, the file has not heard of it.
func TestAKillBetweenMakingAndRegistering(t *testing.T) {
	p := newPlace(t)
	file := leave(t, p)
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	r := p.open(t)
	_, mapped := mustPrepare(t, r, "b", 2, shared, shmregistry.Spec{Name: "new", Size: 100, OnDeath: shmregistry.Handover, Named: true}, window)
	copy(mapped[1].Data(), "new work")
	require.NoError(t, r.Close())
	require.NoError(t, os.WriteFile(file, before, 0o600)) // as the kill would have left it

	r = p.open(t)
	require.Equal(t, "new+:2:stray shared+:1:stray window+:2:stray", states(r.List()))
	require.EqualValues(t, 2, r.Totals().Taken)
	_, mapped = mustPrepare(t, r, "b", 3, shared, shmregistry.Spec{Name: "new", Size: 100, OnDeath: shmregistry.Handover, Named: true}, window)
	require.Equal(t, "new work", string(mapped[1].Data()[:8]))
	r.Died("b", 2)
	require.Equal(t, "new+:2:prepared shared+:1:prepared window+:3:prepared", states(r.List()))
}
