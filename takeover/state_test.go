package takeover

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// sending is what becomes of the next activation that the model sends.
type sending uint8

const (
	arrives   sending = iota
	isBroken          // the standby's socket
	isDelayed         // by nobody's fault
)

// model is what an outsider can know: which worker was activated for which
// binding, and which workers are dead.
type model struct {
	s        *state
	next     WorkerID
	known    map[WorkerID]bool
	offered  map[WorkerID]PoolID
	dead     map[WorkerID]bool
	given    map[WorkerID]BindingID
	active   map[BindingID]WorkerID
	epoch    map[BindingID]uint64
	wanted   map[BindingID]*plan // armed and neither activated nor disarmed
	fired    map[*plan]bool      // it was handed over
	nextSend sending
}

// drain carries out effects as the engine does.
func (m *model) drain(t *rapid.T) {
	for {
		effects := m.s.take()
		if len(effects) == 0 {
			return
		}
		for i := range effects {
			if f := &effects[i]; f.kind == effectActivate {
				m.activate(t, f.worker, f.plan)
			} else if f.event.Kind == Activated && (f.event.Worker == 0 || m.given[f.event.Worker] != f.event.Binding) {
				t.Fatalf("told of an activation that was not: %+v", f.event)
			}
		}
	}
}

func (m *model) activate(t *rapid.T, w WorkerID, p *plan) {
	b := p.binding
	if m.wanted[b] != p {
		t.Fatalf("binding %d: a plan fired that is not armed", b)
	}
	if m.dead[w] {
		t.Fatalf("worker %d was activated although it is dead", w)
	}
	if _, ok := m.given[w]; ok {
		t.Fatalf("worker %d was activated twice", w)
	}
	if pool, ok := m.offered[w]; !ok || pool != p.pool {
		t.Fatalf("worker %d was activated without having been offered to pool %d", w, p.pool)
	}
	if left := m.standing(p.pool) - 1; left < p.reserve {
		t.Fatalf("binding %d left %d standbys, and has to leave %d", b, left, p.reserve)
	}
	switch send := m.nextSend; send {
	case isBroken:
		m.nextSend = arrives
		delete(m.offered, w)
		m.s.lost(w, p)
		return
	case isDelayed:
		m.nextSend = arrives
		m.s.postpone(w, p, 1, w%2 == 0)
		return
	}
	if old := m.active[b]; old != 0 && !m.dead[old] && p.guard != 0 && !m.fired[p] {
		t.Fatalf("binding %d has two active workers: %d and %d", b, old, w)
	}
	if p.epoch <= m.epoch[b] {
		t.Fatalf("epoch of binding %d went from %d to %d", b, m.epoch[b], p.epoch)
	}
	m.given[w], m.active[b], m.epoch[b] = b, w, p.epoch
	delete(m.offered, w)
	delete(m.wanted, b)
	m.s.activated(w, p, 1)
}

// standing is how many standbys a pool has, those included that an effect is
// about to activate.
func (m *model) standing(p PoolID) (n int) {
	for _, pool := range m.offered {
		if pool == p {
			n++
		}
	}
	return n
}

// check compares the state with the model: every standby in one place, nothing
// lost.
func (m *model) check(t *rapid.T) {
	seen := map[WorkerID]int{}
	waiting := map[*plan]int{}
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
		reserve := 0
		for _, p := range k.waiting {
			waiting[p]++
			if m.wanted[p.binding] != p {
				t.Fatalf("binding %d waits although nobody wants it", p.binding)
			}
			if p.reserve < reserve {
				t.Fatalf("binding %d waits behind one with more reserve", p.binding)
			}
			reserve = p.reserve
			if !p.postponed && len(k.standby) > p.reserve {
				t.Fatalf("binding %d waits beside %d standbys and needs more than %d", p.binding, len(k.standby), p.reserve)
			}
		}
	}
	for _, p := range m.s.postponed {
		if !p.postponed || waiting[p] != 1 {
			t.Fatalf("binding %d is postponed and does not wait", p.binding)
		}
	}
	for w := range m.offered {
		if !m.dead[w] && seen[w] != 1 {
			t.Fatalf("standby %d is in %d places", w, seen[w])
		}
	}
	for b, p := range m.wanted {
		g := p.guard
		fired := g == 0 || m.dead[g] || m.fired[p]
		if fired && waiting[p] != 1 {
			t.Fatalf("binding %d lost its plan: its guard %d is dead and it waits %d times", b, g, waiting[p])
		}
		if st := m.s.workers[g]; !fired && (st == nil || st.guards != b) {
			t.Fatalf("binding %d lost its guard %d", b, g)
		}
	}
}

func TestStateAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{s: newState(), known: map[WorkerID]bool{}, offered: map[WorkerID]PoolID{}, dead: map[WorkerID]bool{},
			given: map[WorkerID]BindingID{}, active: map[BindingID]WorkerID{}, epoch: map[BindingID]uint64{},
			wanted: map[BindingID]*plan{}, fired: map[*plan]bool{}}
		poolOf := func(b BindingID) PoolID { return PoolID(b%2 + 1) }
		worker := rapid.Custom(func(t *rapid.T) WorkerID { return WorkerID(rapid.Uint64Range(0, uint64(m.next)).Draw(t, "worker")) })
		// Four bindings live at a time; one that is disarmed makes room for a
		// new one, since their ids are never used again.
		live := []BindingID{1, 2, 3, 4}
		slot := rapid.IntRange(0, len(live)-1)
		reserve := rapid.IntRange(0, 3)
		binding := rapid.Custom(func(t *rapid.T) BindingID { return live[slot.Draw(t, "slot")] })
		// arm gives a binding its next plan. One that was told already stays.
		arm := func(t *rapid.T, b BindingID) {
			g := m.active[b]
			p := &plan{binding: b, guard: g, epoch: m.epoch[b] + 1, pool: poolOf(b), reserve: reserve.Draw(t, "reserve"),
				guardDead: g != 0 && !m.known[g]}
			told := m.s.armed(p)
			if told && m.wanted[b] == nil {
				t.Fatalf("binding %d is armed though nobody armed it", b)
			}
			if !told {
				m.wanted[b] = p
			}
			if m.s.arm(p) == told {
				t.Fatalf("the plan of binding %d was kept, or not, against what armed says", b)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"start": func(t *rapid.T) {
				m.next++
				m.known[m.next] = true
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
			"arm":       func(t *rapid.T) { arm(t, binding.Draw(t, "b")) },
			"arm again": func(t *rapid.T) { arm(t, binding.Draw(t, "b")) },
			"arm an old epoch": func(t *rapid.T) {
				b := binding.Draw(t, "b")
				if m.epoch[b] > 0 && m.s.arm(&plan{binding: b, epoch: m.epoch[b], pool: poolOf(b)}) {
					t.Fatal("an old epoch was armed")
				}
			},
			"arm with a guard that nobody knows": func(t *rapid.T) {
				b := binding.Draw(t, "b")
				stranger := m.next + 1
				if m.s.arm(&plan{binding: b, guard: stranger, epoch: m.epoch[b] + 1, pool: poolOf(b)}) {
					t.Fatal("a plan with an unknown guard was armed")
				}
				last := m.s.out[len(m.s.out)-1].event
				if last.Kind != Rejected || last.Op != OpArm || last.Worker != stranger || last.Binding != b {
					t.Fatalf("it was not rejected: %+v", last)
				}
			},
			"disarm": func(t *rapid.T) {
				i := slot.Draw(t, "slot")
				m.s.disarm(live[i])
				delete(m.wanted, live[i])
				live[i] += BindingID(len(live))
			},
			"hand over": func(t *rapid.T) {
				b := binding.Draw(t, "b")
				w := m.active[b]
				p := m.wanted[b]
				guards := p != nil && w != 0 && p.guard == w && !m.dead[w] && !m.fired[p]
				if m.s.handover(w, cause{}) != guards {
					t.Fatalf("handover of %d from %d: want %v", b, w, guards)
				}
				if guards {
					m.fired[p] = true
				}
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
					delete(m.known, w)
					m.s.forget(w, cause{})
				}
			},
			"next send is broken":  func(*rapid.T) { m.nextSend = isBroken },
			"next send is delayed": func(*rapid.T) { m.nextSend = isDelayed },
			"retry":                func(*rapid.T) { m.s.retry() },
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

// The word of an activation may get lost, and whoever was activated die before
// it is told again. The next plan, which comes too late, brings it.
func TestAPlanThatComesTooLateBringsTheActivation(t *testing.T) {
	s := newState()
	s.watch(1)
	s.offer(1, 1)
	s.arm(&plan{binding: 7, epoch: 3, pool: 1})
	f := s.take()[0]
	s.activated(f.worker, f.plan, 99)
	told := s.take()[0].event // lost
	s.forget(1, cause{})
	require.Equal(t, told, s.take()[0].event, "nobody armed the next plan") // lost too
	s.repeat()
	require.Equal(t, told, s.take()[0].event)
	require.False(t, s.arm(&plan{binding: 7, epoch: 3, pool: 1}))
	again := s.take()
	require.Len(t, again, 2)
	require.Equal(t, Refused, again[0].event.Kind)
	require.Equal(t, told, again[1].event)
	s.disarm(7)
	require.Empty(t, s.newest)
}

// What the supervisor has heard of is not told again.
func TestAKnownActivationIsToldOnce(t *testing.T) {
	s := newState()
	s.watch(1)
	s.offer(1, 1)
	s.arm(&plan{binding: 7, epoch: 3, pool: 1})
	f := s.take()[0]
	s.activated(f.worker, f.plan, 99)
	s.arm(&plan{binding: 7, guard: 1, epoch: 4, pool: 1})
	s.take()
	s.doom(1, cause{})
	s.take() // the plan waits
	s.forget(1, cause{})
	s.repeat()
	require.Empty(t, s.take())
}

// What a step adds must not overwrite the effects that are being carried out.
func TestEffectsStayWhileStepsAddMore(t *testing.T) {
	s := newState()
	for w := WorkerID(1); w <= 3; w++ {
		s.watch(w)
	}
	for b := BindingID(1); b <= 3; b++ {
		s.arm(&plan{binding: b, epoch: 1, pool: 1})
	}
	s.take() // three that wait
	for w := WorkerID(1); w <= 3; w++ {
		s.offer(w, 1)
	}
	effects := s.take()
	require.Len(t, effects, 3)
	for i := range effects {
		f := &effects[i]
		require.Equal(t, effectActivate, f.kind)
		require.Equal(t, BindingID(i+1), f.plan.binding)
		s.lost(f.worker, f.plan) // two effects of its own
	}
}
