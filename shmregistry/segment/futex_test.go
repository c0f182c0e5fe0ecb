package segment_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/shmregistry/segment"
)

func TestWaitEndsByChangeTimeoutAndWake(t *testing.T) {
	fd := newFD(t, 64)
	s, other := mustMap(t, fd), mustMap(t, fd)
	w := s.Word(8)
	require.NoError(t, segment.Wait(w, 1, -1), "the word is not 1")
	require.ErrorIs(t, segment.Wait(w, 0, 0), segment.ErrTimeout)

	begin := time.Now()
	require.ErrorIs(t, segment.Wait(w, 0, 20*time.Millisecond), segment.ErrTimeout)
	require.GreaterOrEqual(t, time.Since(begin), 20*time.Millisecond)

	woken := make(chan error)
	go func() {
		var err error
		for atomic.LoadUint32(w) == 0 && err == nil {
			err = segment.Wait(w, 0, -1)
		}
		woken <- err
	}()
	atomic.StoreUint32(other.Word(8), 1) // through another mapping, as another process would
	segment.Wake(other.Word(8), 1)
	require.NoError(t, <-woken)
}

func TestACommitAndATakeoverWakeThoseWhoWait(t *testing.T) {
	fd := newFD(t, 64)
	s, other := mustMap(t, fd), mustMap(t, fd)
	for _, wakes := range []func() error{
		func() error { _, err := s.Cell(1, 16); return err },
		func() error {
			c, err := s.Cell(1, 16)
			require.NoError(t, err)
			return c.Commit()
		},
		func() error { _, err := s.Cell(2, 16); return err },
	} {
		seen := atomic.LoadUint32(other.CellWord())
		woken := make(chan error)
		go func() {
			var err error
			for atomic.LoadUint32(other.CellWord()) == seen && err == nil {
				err = segment.Wait(other.CellWord(), seen, -1)
			}
			woken <- err
		}()
		require.NoError(t, wakes())
		require.NoError(t, <-woken)
	}
}
