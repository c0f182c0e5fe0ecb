package loop

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPostedRunsInOrderUntilFinished(t *testing.T) {
	l := New()
	var ran []int
	for i := range 5 {
		require.NoError(t, l.Post(func() { ran = append(ran, i) }))
	}
	l.Run(func() bool { return len(ran) == 3 })
	require.Equal(t, []int{0, 1, 2}, ran)
	<-l.Ended()
	require.ErrorIs(t, l.Post(func() { t.Error("ran after the end") }), ErrEnded)
}

// A poster that waits for room is let go when the loop ends.
func TestPosterIsLetGoAtTheEnd(t *testing.T) {
	l := New()
	for range queued {
		require.NoError(t, l.Post(func() {}))
	}
	late := make(chan error)
	go func() { late <- l.Post(func() {}) }()
	l.Run(func() bool { return true })
	<-late // room, or ErrEnded
}

// A timer that is stopped does not run, even when its time had come.
func TestStoppedTimerNeverRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		finished, ran := false, ""
		stopped := l.After(time.Second, func() { ran += "stopped" })
		l.After(2*time.Second, func() { ran += "kept" })
		time.Sleep(3 * time.Second)
		synctest.Wait() // both wait for their turn
		require.NoError(t, l.Post(func() { finished = true }))
		stopped.Stop()
		require.False(t, stopped.Pending())
		l.Run(func() bool { return finished })
		require.Equal(t, "kept", ran)
		(*Timer)(nil).Stop()
	})
}
