package worker

import (
	"fmt"
	"net"

	"understudy/internal/control"
	"understudy/internal/fdpass"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/shmregistry/segment"
	"understudy/worker/heir"
)

// receiveDescriptors makes listeners and segments of the descriptors that came
// with an activation, all of which it takes over. Those of segments stay open as
// long as the process lives: a supervisor that was restarted finds the segments
// by them. begin is called at the first Accept of the first listener.
func (a *Assignment) receiveDescriptors(m *understudyv1.Activate, fds []int, h *heir.Heir, begin func()) (err error) {
	defer func() {
		if err == nil {
			fdpass.CloseAll(fds[:len(m.Listeners)])
		} else {
			fdpass.CloseAll(fds)
			closeListeners(a.Listeners)
			closeSegments(a.Segments)
		}
	}()
	if len(m.Listeners) == 0 {
		return fmt.Errorf("%w: activation without a listener", control.ErrMalformed)
	}
	if want := len(m.Listeners) + len(m.Segments); len(fds) != want {
		return fmt.Errorf("%w: activation with %d descriptors instead of %d", control.ErrMalformed, len(fds), want)
	}
	// Segments first: connections are accepted by a worker that has its state.
	if a.Segments, err = mapSegments(m.Segments, fds[len(m.Listeners):], m.Epoch); err != nil {
		return err
	}
	a.Listeners, err = listen(m.Listeners, fds[:len(m.Listeners)], h, begin)
	return err
}

// mapSegments maps the segments of an activation and takes them for its epoch.
// Where a later epoch has one already, the error is segment.ErrStale.
func mapSegments(described []*understudyv1.Segment, fds []int, epoch uint64) (map[string]*segment.Segment, error) {
	if len(described) == 0 {
		return nil, nil
	}
	out := make(map[string]*segment.Segment, len(described))
	for i, d := range described {
		if out[d.Name] != nil {
			return out, fmt.Errorf("%w: segment %q is there twice", control.ErrMalformed, d.Name)
		}
		s, err := segment.Map(fds[i])
		if err != nil {
			return out, fmt.Errorf("segment %q: %w", d.Name, err)
		}
		out[d.Name] = s
		if err := s.Raise(epoch); err != nil {
			return out, fmt.Errorf("segment %q: %w", d.Name, err)
		}
	}
	return out, nil
}

func closeSegments(segments map[string]*segment.Segment) {
	for _, s := range segments {
		s.Close()
	}
}

// listen makes listeners out of descriptors, which stay the caller's.
func listen(described []*understudyv1.Listener, fds []int, h *heir.Heir, begin func()) (ls []net.Listener, err error) {
	for i, d := range described {
		l, err := listenerOf(fds[i], d.Name)
		if err != nil {
			return ls, fmt.Errorf("listener %q: %w", d.Name, err)
		}
		if i == 0 {
			h.Listens(fds[i])
		} else {
			begin = func() {}
		}
		ls = append(ls, &listener{Listener: l, heir: h, begin: begin})
	}
	return ls, nil
}
