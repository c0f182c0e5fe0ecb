package observe

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"understudy/internal/event"
)

func numbered(n int) event.Event { return event.Event{Kind: event.WorkerReady, Pid: n} }

func TestEverySubscriberGetsEveryEventInOrder(t *testing.T) {
	h := NewHub()
	var subs [3]*Subscription
	for i := range subs {
		s, err := h.Subscribe()
		require.NoError(t, err)
		defer s.Close()
		subs[i] = s
	}
	go func() {
		for n := range 500 {
			h.Publish(numbered(n))
		}
	}()
	for _, s := range subs {
		for n := range 500 {
			e, dropped, err := s.Next(t.Context())
			require.NoError(t, err)
			require.Zero(t, dropped)
			require.Equal(t, n, e.Pid)
		}
	}
	require.Zero(t, h.Dropped())
}

func TestASlowSubscriberLosesTheOldestAndIsTold(t *testing.T) {
	h := NewHub()
	slow, err := h.Subscribe()
	require.NoError(t, err)
	defer slow.Close()
	for n := range maxBehind + 7 {
		h.Publish(numbered(n))
	}
	e, dropped, err := slow.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(7), dropped)
	require.Equal(t, 7, e.Pid)
	e, dropped, err = slow.Next(t.Context())
	require.NoError(t, err)
	require.Zero(t, dropped)
	require.Equal(t, 8, e.Pid)
	require.Equal(t, uint64(7), h.Dropped())
}

func TestCloseDeliversWhatWaits(t *testing.T) {
	h := NewHub()
	s, err := h.Subscribe()
	require.NoError(t, err)
	defer s.Close()
	h.Publish(numbered(1))
	h.Publish(numbered(2))
	h.Close()
	h.Publish(numbered(3))
	for _, want := range []int{1, 2} {
		e, _, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, e.Pid)
	}
	for range 2 {
		_, _, err = s.Next(t.Context())
		require.ErrorIs(t, err, ErrClosed)
	}
	_, err = h.Subscribe()
	require.ErrorIs(t, err, ErrClosed)
}

func TestNextWaitsAndCanBeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		s, err := h.Subscribe()
		require.NoError(t, err)
		defer s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, _, err := s.Next(ctx)
			ended <- err
		}()
		synctest.Wait()
		require.Empty(t, ended)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

func TestSubscribersAreBounded(t *testing.T) {
	h := NewHub()
	for range maxSubscribers {
		_, err := h.Subscribe()
		require.NoError(t, err)
	}
	_, err := h.Subscribe()
	require.ErrorIs(t, err, ErrTooManySubscribers)
}

func TestSubscribersComeAndGoWhileEventsFlow(t *testing.T) {
	h := NewHub()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				h.Publish(event.Event{Message: strconv.Itoa(n)})
			}
		}
	})
	for range 200 {
		s, err := h.Subscribe()
		require.NoError(t, err)
		_, _, err = s.Next(t.Context())
		require.NoError(t, err)
		s.Close()
	}
	close(stop)
	wg.Wait()
	require.Empty(t, h.subscribers)
}
