package takeover

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// model is what an outsider can know: which worker was activated for which
// binding, and which workers are dead.
type model struct {
	s        *state
	next     WorkerID
	offered  map[WorkerID]PoolID
	dead     map[WorkerID]bool
	given    map[WorkerID]BindingID
	active   map[BindingID]WorkerID
	epoch    map[BindingID]uint64
	wanted   map[BindingID]bool // armed and not disarmed
	guard    map[BindingID]WorkerID
	sendFail bool
}

// drain carries out effects as the engine does; where sendFail is set, the
// first activation fails as if the standby's socket were broken.
func (m *model) drain(t *rapid.T) {
	for {
		effects := append([]effect(nil), m.s.take()...)
		if len(effects) == 0 {
			return
		}
		for _, f := range effects {
			if f.kind != effectActivate {
				continue
			}
			w, b := f.worker, f.plan.binding
			if m.dead[w] {
				t.Fatalf("worker %d was activated although it is dead", w)
			}
			if _, ok := m.given[w]; ok {
				t.Fatalf("worker %d was activated twice", w)
			}
			if _, ok := m.offered[w]; !ok {
				t.Fatalf("worker %d was activated without having been offered", w)
			}
			if m.sendFail {
				m.sendFail = false
				delete(m.offered, w)
				m.s.sendFailed(w, f.plan)
				continue
			}
			if old := m.active[b]; old != 0 && !m.dead[old] && m.guard[b] != 0 {
				t.Fatalf("binding %d has two active workers: %d and %d", b, old, w)
			}
			if f.plan.epoch <= m.epoch[b] {
				t.Fatalf("epoch of binding %d went from %d to %d", b, m.epoch[b], f.plan.epoch)
			}
			m.given[w], m.active[b], m.epoch[b] = b, w, f.plan.epoch
			delete(m.offered, w)
			delete(m.wanted, b)
			m.s.activated(w, f.plan, 1)
		}
	}
}

// check compares the state with the model: every standby in one place, nothing
// lost.
func (m *model) check(t *rapid.T) {
	seen := map[WorkerID]int{}
	waiting := map[BindingID]int{}
	for id, k := range m.s.stacks {
		for _, w := range k.standby {
			seen[w]++
			if p, ok := m.offered[w]; !ok || p != id {
				t.Fatalf("worker %d stands by in pool %d, offered to %d (%v)", w, id, p, ok)
			}
			if m.dead[w] {
				t.Fatalf("dead worker %d stands by", w)
			}
		}
		for _, p := range k.waiting {
			waiting[p.binding]++
			if !m.wanted[p.binding] {
				t.Fatalf("binding %d waits although nobody wants it", p.binding)
			}
		}
		if len(k.standby) > 0 && len(k.waiting) > 0 {
			t.Fatalf("pool %d has standbys %v while %d bindings wait", id, k.standby, len(k.waiting))
		}
	}
	for w := range m.offered {
		if !m.dead[w] && seen[w] != 1 {
			t.Fatalf("standby %d is in %d places", w, seen[w])
		}
	}
	for b := range m.wanted {
		g := m.guard[b]
		fired := g == 0 || m.dead[g]
		if fired && waiting[b] != 1 {
			t.Fatalf("binding %d lost its plan: its guard %d is dead and it waits %d times", b, g, waiting[b])
		}
		if st := m.s.workers[g]; !fired && (st == nil || st.guards != b) {
			t.Fatalf("binding %d lost its guard %d", b, g)
		}
	}
}

func TestStateAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{s: newState(), offered: map[WorkerID]PoolID{}, dead: map[WorkerID]bool{},
			given: map[WorkerID]BindingID{}, active: map[BindingID]WorkerID{}, epoch: map[BindingID]uint64{},
			wanted: map[BindingID]bool{}, guard: map[BindingID]WorkerID{}}
		poolOf := func(b BindingID) PoolID { return PoolID(b%2 + 1) }
		worker := rapid.Custom(func(t *rapid.T) WorkerID { return WorkerID(rapid.Uint64Range(0, uint64(m.next)).Draw(t, "worker")) })
		// Four bindings live at a time; one that is disarmed makes room for a
		// new one, since their ids are never used again.
		live := []BindingID{1, 2, 3, 4}
		slot := rapid.IntRange(0, len(live)-1)
		binding := rapid.Custom(func(t *rapid.T) BindingID { return live[slot.Draw(t, "slot")] })
		t.Repeat(map[string]func(*rapid.T){
			"start": func(t *rapid.T) {
				m.next++
				m.s.watch(m.next)
			},
			"offer": func(t *rapid.T) {
				w := worker.Draw(t, "w")
				p := PoolID(rapid.Uint32Range(1, 2).Draw(t, "p"))
				_, already := m.offered[w]
				_, used := m.given[w]
				if w != 0 && !already && !used && !m.dead[w] {
					m.offered[w] = p
				}
				m.s.offer(w, p)
			},
			"withdraw": func(t *rapid.T) {
				w := worker.Draw(t, "w")
				m.s.withdraw(w)
				delete(m.offered, w)
			},
			"arm": func(t *rapid.T) {
				b := binding.Draw(t, "b")
				g := m.active[b]
				m.wanted[b], m.guard[b] = true, g
				m.s.arm(&plan{binding: b, guard: g, epoch: m.epoch[b] + 1, pool: poolOf(b)})
			},
			"arm an old epoch": func(t *rapid.T) {
				b := binding.Draw(t, "b")
				if m.epoch[b] > 0 && m.s.arm(&plan{binding: b, epoch: m.epoch[b], pool: poolOf(b)}) {
					t.Fatal("an old epoch was armed")
				}
			},
			"disarm": func(t *rapid.T) {
				i := slot.Draw(t, "slot")
				m.s.disarm(live[i])
				delete(m.wanted, live[i])
				live[i] += BindingID(len(live))
			},
			"die": func(t *rapid.T) {
				w := worker.Draw(t, "w")
				if w == 0 {
					return
				}
				first := !m.dead[w]
				m.dead[w] = true
				delete(m.offered, w)
				if m.s.doom(w, cause{signal: 9}) != first {
					t.Fatalf("death of %d was counted wrongly", w)
				}
			},
			"forget": func(t *rapid.T) {
				if w := worker.Draw(t, "w"); w != 0 {
					m.dead[w] = true
					delete(m.offered, w)
					m.s.forget(w, cause{})
				}
			},
			"next send fails": func(*rapid.T) { m.sendFail = true },
			"": func(t *rapid.T) {
				m.drain(t)
				m.check(t)
			},
		})
	})
}

func TestStepsOfAFailoverDoNotAllocate(t *testing.T) {
	s := newState()
	const n = 10_000
	for w := WorkerID(1); w <= n; w++ {
		s.watch(w)
		s.offer(w, 1)
	}
	p := &plan{binding: 1, epoch: 1, pool: 1}
	s.arm(p)
	guard := s.take()[0].worker
	s.activated(guard, p, 1)
	s.take()
	plans := make([]plan, 1100)
	i := 0
	arm := func() *plan {
		q := &plans[i]
		i++
		*q = plan{binding: 1, guard: guard, epoch: uint64(i + 1), pool: 1}
		return q
	}
	allocs := testing.AllocsPerRun(1000, func() {
		s.arm(arm())
		s.doom(guard, cause{signal: 9})
		f := s.take()[0]
		s.activated(f.worker, f.plan, 1)
		guard = f.worker
		s.take()
	})
	require.Zero(t, allocs)
}

// A reconcile pass may offer a standby whose activation is news still on its
// way to the supervisor: nothing was lost, so nothing counts as repaired.
func TestOfferingAnActivatedWorkerTellsAgainAndRepairsNothing(t *testing.T) {
	s := newState()
	s.watch(1)
	require.True(t, s.offer(1, 1))
	s.arm(&plan{binding: 7, epoch: 1, pool: 1})
	f := s.take()[0]
	s.activated(f.worker, f.plan, 1)
	told := s.take()[0].event
	require.False(t, s.offer(1, 1))
	require.Equal(t, told, s.take()[0].event)
}
