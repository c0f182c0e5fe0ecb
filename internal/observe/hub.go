package observe

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"understudy/internal/event"
)

// Bounds on who listens and how far one may fall behind.
const (
	maxSubscribers = 1024
	// maxBehind is how many events wait for one subscriber.
	maxBehind = 1024
)

var (
	// ErrClosed: the hub has closed and everything was delivered.
	ErrClosed = errors.New("no more events: the supervisor is stopping")
	// ErrTooManySubscribers: no room for one more.
	ErrTooManySubscribers = errors.New("too many subscribers to events")
)

// Hub hands every event to every subscriber. A subscriber that falls behind
// loses the oldest events; each loss is counted.
type Hub struct {
	dropped atomic.Uint64

	mu          sync.Mutex
	subscribers map[*Subscription]struct{}
	closed      bool
}

// NewHub returns a hub without subscribers.
func NewHub() *Hub { return &Hub{subscribers: make(map[*Subscription]struct{})} }

// Subscription is one listener's queue.
type Subscription struct {
	hub  *Hub
	wake chan struct{} // holds one token while there may be something to read
	// Under hub.mu:
	queue   []event.Event
	dropped uint64
}

// Publish is an event.Sink: it never waits for a subscriber.
func (h *Hub) Publish(e event.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	for s := range h.subscribers {
		if len(s.queue) == maxBehind {
			s.queue[0] = event.Event{} // for the collector
			s.queue = s.queue[1:]
			s.dropped++
			h.dropped.Add(1)
		}
		s.queue = append(s.queue, e)
		s.signal()
	}
}

// Dropped returns how many events subscribers have lost so far.
func (h *Hub) Dropped() uint64 { return h.dropped.Load() }

// Subscribe begins to collect what happens from now on. The caller must Close
// the subscription. Errors: ErrTooManySubscribers, ErrClosed.
func (h *Hub) Subscribe() (*Subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if len(h.subscribers) >= maxSubscribers {
		return nil, ErrTooManySubscribers
	}
	s := &Subscription{hub: h, wake: make(chan struct{}, 1)}
	h.subscribers[s] = struct{}{}
	return s, nil
}

// Close ends every subscription, once what waits in it has been read.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subscribers {
		s.signal()
	}
}

// Next waits for an event. droppedBefore is how many were lost between the one
// before and this one. It returns ErrClosed when the hub has closed, or ctx's
// error. It is for one goroutine at a time.
func (s *Subscription) Next(ctx context.Context) (e event.Event, droppedBefore uint64, err error) {
	for {
		select {
		case <-ctx.Done():
			return event.Event{}, 0, ctx.Err()
		case <-s.wake:
		}
		if e, droppedBefore, ok, closed := s.take(); ok {
			return e, droppedBefore, nil
		} else if closed {
			return event.Event{}, 0, ErrClosed
		}
	}
}

func (s *Subscription) take() (e event.Event, dropped uint64, ok, closed bool) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.hub.closed || len(s.queue) > 1 {
		s.signal() // there is more to read, or the end
	}
	if len(s.queue) == 0 {
		return e, 0, false, s.hub.closed
	}
	e, dropped = s.queue[0], s.dropped
	s.queue[0] = event.Event{}
	s.queue, s.dropped = s.queue[1:], 0
	return e, dropped, true, false
}

// Close ends the subscription. What was not read is forgotten.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subscribers, s)
}

func (s *Subscription) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
