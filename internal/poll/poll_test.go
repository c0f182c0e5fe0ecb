package poll

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestSignalsDoNotEndAWait(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	waits, ready := make(chan int, 1), make(chan int16, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		waits <- unix.Gettid()
		events, err := Wait(int(r.Fd()), unix.POLLIN, -1)
		if err != nil {
			events = -1
		}
		ready <- events
	}()
	thread := <-waits
	for range 200 {
		require.NoError(t, unix.Tgkill(os.Getpid(), thread, unix.SIGURG))
		select {
		case events := <-ready:
			t.Fatalf("the wait ended with %#x", events)
		case <-time.After(time.Millisecond):
		}
	}
	_, err = w.WriteString("x")
	require.NoError(t, err)
	require.Equal(t, int16(unix.POLLIN), <-ready)
}

func TestWaitEndsWithItsTime(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	ready, err := Now(int(r.Fd()), unix.POLLIN)
	require.NoError(t, err)
	require.Zero(t, ready)
	begun := time.Now()
	ready, err = Wait(int(r.Fd()), unix.POLLIN, 20*time.Millisecond)
	require.NoError(t, err)
	require.Zero(t, ready)
	require.GreaterOrEqual(t, time.Since(begun), 20*time.Millisecond)
	w.Close()
	ready, err = Wait(int(r.Fd()), unix.POLLIN, -1)
	require.NoError(t, err)
	require.Equal(t, int16(unix.POLLHUP), ready)
}
