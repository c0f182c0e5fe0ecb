package isolation

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"understudy/internal/event"
	"understudy/patterns"
	"understudy/pool"
	"understudy/takeover"
)

// launch finds or makes the binding; done gets the outcome.
func (m *Manager) launch(r AcquireRequest, done chan<- error) (string, error) {
	if m.closing {
		return "", ErrClosed
	}
	manifest := m.keeper.Manifest(pool.PoolKey(r.Pattern))
	if manifest == nil {
		return "", fmt.Errorf("%w %s", ErrUnknownPattern, quote(r.Pattern))
	}
	if r.Key.Level == LevelUnspecified {
		r.Key.Level = m.cfg.DefaultLevel
		if l, err := ParseLevel(manifest.Isolation); err == nil && l != LevelUnspecified {
			r.Key.Level = l
		}
	}
	key, err := r.Key.Reduce()
	if err != nil {
		return "", err
	}
	id := key.scoped(r.Pattern, manifest.SessionScope)
	e := m.bindings[id]
	m.noteSharing(e, key)
	switch {
	case e == nil:
		if e, err = m.bind(id, key, manifest, r); err != nil {
			return id, err
		}
	case e.phase.state == Draining: // comes back when the old life is over
		e.released = append(e.released, m.relaunch(r, done))
		return id, nil
	case e.phase.state == Failed:
		if err := m.quarantined(e); err != nil {
			return id, err
		}
		if e.phase.everServed {
			break // its address is there, or comes back with its worker
		}
		if err := m.reopen(e); err != nil {
			return id, err
		}
	}
	if most := m.cfg.MaxWaiting; most > 0 && m.launching >= most {
		return id, m.refuse(limitWaitingLaunches, "%d waiting launches", most)
	}
	m.launching++
	e.launched = append(e.launched, done)
	m.apply(e, input{kind: inLaunch})
	return id, nil
}

// relaunch repeats a launch when the channel it returns gets its word.
func (m *Manager) relaunch(r AcquireRequest, done chan<- error) chan<- struct{} {
	over := make(chan struct{}, 1)
	go func() {
		<-over
		if err := m.loop.Post(func() {
			if _, err := m.launch(r, done); err != nil {
				done <- err
			}
		}); err != nil {
			done <- ErrClosed
		}
	}()
	return over
}

// maxNotes bounds what is noted of one binding.
const maxNotes = 16

// noteSharing tells where a second namespace uses a session that belongs to all
// (session_scope: session).
func (m *Manager) noteSharing(e *entry, key Key) {
	if e == nil || key.Level != LevelSession || e.Key.Namespace == key.Namespace {
		return
	}
	note := fmt.Sprintf("namespace %s uses the session of namespace %s; session_scope: namespace_session keeps them apart",
		quote(key.Namespace), quote(e.Key.Namespace))
	if slices.Contains(e.Notes, note) || len(e.Notes) >= maxNotes {
		return
	}
	e.Notes = append(slices.Clip(e.Notes), note)
	m.emit(e, event.SessionShared, note, nil)
}

func (m *Manager) bind(id string, key Key, manifest *patterns.Manifest, r AcquireRequest) (*entry, error) {
	if err := m.admit(manifest, key); err != nil {
		return nil, err
	}
	binding := Binding{ProcessID: id, Pattern: manifest.Name, Key: key,
		LaunchedBy: r.LaunchedBy, Created: time.Now(), Config: make(map[string]string)}
	maps.Copy(binding.Config, manifest.Config)
	maps.Copy(binding.Config, r.Config)
	if err := m.fits(&binding, manifest); err != nil {
		return nil, err
	}
	ep, err := openEndpoint(manifest.Listen, m.cfg.RuntimeDir, id, m.resting.take(id), manifest.Endpoint, m.cfg.DeepQueues)
	if err != nil {
		return nil, err
	}
	m.nextID++
	e := &entry{id: m.nextID, early: make(map[takeover.WorkerID]uint64), manifest: manifest, endpoint: ep, grace: manifest.GracePeriod,
		phase: phase{epoch: m.lastEpoch(id, manifest)}, Binding: binding}
	e.Address = ep.target()
	if r.Grace > 0 {
		e.grace = r.Grace
	}
	m.bindings[id], m.byID[e.id] = e, e
	if !m.watching {
		m.watching = true
		m.loop.After(watchInterval, m.watchEndpoints)
	}
	m.perNamespace[key.Namespace]++
	m.perPool[e.pool()]++
	return e, nil
}

// reopen gives a binding whose launch failed its endpoint back.
func (m *Manager) reopen(e *entry) error {
	ep, err := openEndpoint(e.manifest.Listen, m.cfg.RuntimeDir, e.ProcessID, e.endpoint.address, e.manifest.Endpoint, m.cfg.DeepQueues)
	if err != nil {
		return err
	}
	e.endpoint, e.Address, e.deaths, e.failure = ep, ep.target(), nil, nil
	m.rename(e)
	return nil
}

// rename makes it another binding to the engine: the old one was disarmed.
func (m *Manager) rename(e *entry) {
	m.nextID++
	delete(m.byID, e.id)
	e.id = m.nextID
	m.byID[e.id] = e
}
