package isolation

import (
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"understudy/takeover"
)

// engineModel is a takeover engine as a binding sees it: it holds at most one
// plan, fires it when the guard dies, and answers in order, later.
type engineModel struct {
	plan    *output
	reserve int // of the plan
	waiting bool
	spares  int
	short   bool // lives are short now
	next    takeover.WorkerID
	newest  uint64  // epoch that was activated
	inbox   []input // what the binding will hear, in order
	alive   map[takeover.WorkerID]bool
	served  map[takeover.WorkerID]uint64
	used    map[uint64]takeover.WorkerID // by epoch
	// claims are workers of whose activation the binding did not hear, because
	// the engine died.
	claims []input
}

func (g *engineModel) fire() {
	if g.spares <= g.reserve {
		if !g.waiting {
			g.inbox = append(g.inbox, input{kind: inWaiting})
		}
		g.waiting = true
		return
	}
	g.spares--
	g.next++
	g.alive[g.next] = true
	g.served[g.next], g.newest = g.plan.epoch, g.plan.epoch
	if other := g.used[g.plan.epoch]; other != 0 {
		panic("epoch of worker " + strconv.Itoa(int(other)) + " is used again")
	}
	g.used[g.plan.epoch] = g.next
	g.inbox = append(g.inbox, input{kind: inActivated, worker: g.next, epoch: g.plan.epoch})
	g.plan, g.waiting = nil, false
}

// TestBindingAgainstEngine drives a binding with everything that can happen, in
// every order, and checks what must always hold.
func TestBindingAgainstEngine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &engineModel{alive: map[takeover.WorkerID]bool{}, served: map[takeover.WorkerID]uint64{}, used: map[uint64]takeover.WorkerID{}}
		// Some short lives lie behind it, so that a few steps show a crash loop.
		p := phase{}
		p.short.all = rapid.IntRange(0, loopsFrom).Draw(t, "short lives")
		p.short.unserved = rapid.IntRange(0, p.short.all).Draw(t, "lives without serving")
		g.spares = rapid.IntRange(0, 4).Draw(t, "spares")
		lastArmed := uint64(0)
		deadline, held, waiters := false, false, 0
		full := false       // no room for the segments of a plan
		var unarmed *output // the plan that failed for it
		hedged := 0
		spent := false // the crash budget
		proving := takeover.WorkerID(0)
		var feed func(input)
		feed = func(in input) {
			before := p
			var outs []output
			p, outs = step(p, in)
			if p.epoch < before.epoch {
				t.Fatalf("epoch fell from %d to %d at %+v", before.epoch, p.epoch, in)
			}
			if before.state == Gone && (p != before || len(outs) > 0) {
				t.Fatalf("a binding that is gone did something: %+v", outs)
			}
			for _, o := range outs {
				switch o.kind {
				case outArm:
					if full {
						failed := o
						unarmed = &failed
						feed(input{kind: inUnarmed})
						continue
					}
					if o.epoch <= g.newest && (p.rearmed || in.kind == inProved || in.kind == inArmable) {
						continue // refused: it was activated, and the word of that is on its way
					}
					if again := g.plan != nil && o.epoch == g.plan.epoch && o.worker == g.plan.worker; g.plan != nil && !p.rearmed && !again {
						t.Fatalf("armed twice: %+v over %+v", o, *g.plan)
					}
					g.waiting = false
					if o.epoch <= p.epoch && p.epoch > 0 || o.epoch < lastArmed {
						t.Fatalf("armed epoch %d at epoch %d, after %d", o.epoch, p.epoch, lastArmed)
					}
					lastArmed = o.epoch
					plan := o
					g.plan, g.reserve = &plan, 0
					if p.short.reserves() {
						g.reserve = 1
					}
					if o.worker == 0 || !g.alive[o.worker] {
						g.fire()
					}
				case outDisarm:
					g.plan, g.waiting, g.newest = nil, false, 0
					g.inbox = append(g.inbox, input{kind: inDisarmed})
				case outDeadline:
					deadline = true
				case outRelax:
					deadline = false
				case outHold:
					held = true
				case outProve:
					proving = o.worker
				case outShut: // the manager gives it a new id
					g.plan, g.waiting = nil, false
					g.renamed()
				case outFail, outDrain, outStuck:
					if o.kind == outStuck {
						if hedged++; hedged > 1 {
							t.Fatalf("a second standby is given up in one failover: %+v", p)
						}
						if g.spares == 0 {
							t.Fatalf("the last standby is given up: %+v", p)
						}
					}

					if g.alive[o.worker] {
						die(g, o.worker)
					}
				case outReady:
					if !p.serving || p.worker == 0 {
						t.Fatalf("told to be ready in %+v", p)
					}
					waiters = 0
				case outBroken, outGone:
					waiters = 0
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"launch": func(*rapid.T) {
				if p.state != Draining && p.state != Gone {
					waiters++
					if p.state == Failed && !p.everServed {
						g.renamed()
					}
					feed(input{kind: inLaunch})
				}
			},
			"hear": func(*rapid.T) {
				if len(g.inbox) > 0 {
					in := g.inbox[0]
					g.inbox = g.inbox[1:]
					if in.kind == inLived && in.worker != p.worker {
						return
					}
					in.spent = spent
					feed(in)
				}
			},
			"lives are short":     func(*rapid.T) { g.short = true },
			"lives are long":      func(*rapid.T) { g.short = false },
			"the budget is spent": func(*rapid.T) { spent = true },
			"the budget is back":  func(*rapid.T) { spent = false },
			"an activated worker should accept by now": func(*rapid.T) {
				feed(input{kind: inHedge, worker: p.worker, idle: g.spares > g.reserve})
			},
			"a life is long": func(*rapid.T) {
				if w := proving; w != 0 {
					proving = 0
					feed(input{kind: inProved, worker: w, spent: spent})
				}
			},
			"serve": func(*rapid.T) {
				if p.worker != 0 && g.alive[p.worker] {
					feed(input{kind: inServing, worker: p.worker, epoch: g.served[p.worker]})
					hedged = 0
				}
			},
			"die": func(t *rapid.T) {
				for w := range g.alive {
					if w == g.next && g.alive[w] {
						die(g, w)
					}
				}
			},
			"spare": func(*rapid.T) {
				g.spares++
				if g.waiting {
					g.fire()
				}
			},
			"the time of a hold is over": func(*rapid.T) {
				if held {
					held = false
					feed(input{kind: inRetry})
				}
			},
			"starts go on failing":       func(*rapid.T) { feed(input{kind: inFailing}) },
			"clients have waited enough": func(*rapid.T) { feed(input{kind: inRefuse}) },
			"a standby for one that is shut": func(*rapid.T) {
				if p.wants() && !p.waiting {
					feed(input{kind: inStandby})
				}
			},
			"start fails": func(*rapid.T) { feed(input{kind: inStartFailed}) },
			"deadline": func(*rapid.T) {
				if deadline {
					deadline = false
					feed(input{kind: inDeadline})
				}
			},
			"shared memory is full": func(*rapid.T) { full = true },
			"there is room again": func(*rapid.T) {
				full = false
				if o := unarmed; o != nil {
					unarmed = nil
					feed(input{kind: inArmable, worker: o.worker, epoch: o.epoch})
				}
			},
			"the engine's word is lost": func(*rapid.T) {
				switch {
				case len(g.inbox) > 0 && g.inbox[0].kind == inWaiting &&
					(p.waiting || slices.ContainsFunc(g.inbox[1:], func(in input) bool { return in.kind == inWaiting })):
					g.inbox = g.inbox[1:] // said again: the plan is with the engine
				case len(g.inbox) > 0 && g.inbox[0].kind == inWaiting:
					g.inbox, g.plan, g.waiting = g.inbox[1:], nil, false
				case len(g.inbox) == 0 && g.plan != nil && g.plan.worker != 0:
					g.plan = nil // or it never had it
				}
			},
			"the engine dies": func(*rapid.T) {
				var heard []input
				for _, in := range g.inbox {
					switch {
					case in.kind == inActivated && g.alive[in.worker]:
						g.claims = append(g.claims, in)
					case in.kind == inExited, in.kind == inLived:
						heard = append(heard, in)
					}
				}
				g.inbox, g.plan, g.waiting, g.newest = heard, nil, false, 0
				feed(input{kind: inEngineLost, unsure: len(g.claims) > 0 || g.spares > 0})
			},
			"the standbys answer": func(*rapid.T) {
				claims := g.claims
				g.claims = nil
				for _, in := range claims {
					switch {
					case !g.alive[in.worker]:
					case in.epoch > p.epoch && p.state != Gone:
						feed(in)
					default:
						die(g, in.worker)
					}
				}
				if p.unsettled {
					feed(input{kind: inSettled, lost: p.worker == 0})
				}
			},
			"release": func(t *rapid.T) {
				if p.state != Gone {
					feed(input{kind: inRelease, force: rapid.Bool().Draw(t, "force")})
				}
			},
			"": func(t *rapid.T) {
				alive := 0
				if p.unsettled && g.plan != nil && p.state != Draining {
					t.Fatalf("armed while a standby may serve already: %+v", p)
				}
				for w, a := range g.alive {
					if a && w != p.worker && len(g.inbox) == 0 && len(g.claims) == 0 {
						t.Fatalf("worker %d serves and the binding knows only %d", w, p.worker)
					}
					if a {
						alive++
					}
				}
				if alive > 1 {
					t.Fatalf("%d workers serve at once", alive)
				}
				if g.alive[p.worker] && p.armed && p.short.looping() {
					t.Fatalf("a binding in a crash loop has a plan: %+v", p)
				}
				if len(g.inbox) > 0 {
					return
				}
				if g.plan != nil && p.short.reserves() && g.reserve == 0 && g.alive[g.plan.worker] {
					t.Fatalf("the plan of %+v leaves no standby to others", p)
				}
				if unarmed == nil && g.plan != nil && !p.short.reserves() && g.reserve > 0 && g.alive[g.plan.worker] {
					t.Fatalf("the plan of %+v leaves a standby to others for ever", p)
				}
				if g.alive[p.worker] && p.short.all > 0 && proving == 0 && p.state != Draining {
					t.Fatalf("nothing will end the crash loop of %+v", p)
				}
				// With nothing left to hear, a binding that should be served is
				// either served, or armed, or on a clock.
				lives := p.state == Active || p.state == Recovering || p.state == Starting && waiters > 0 || p.state == Failed && p.everServed
				if lives && !p.serving && !deadline && !p.unsettled && g.plan == nil && !held && !p.wants() {
					t.Fatalf("nothing will move %+v on", p)
				}
				if p.state == Draining && p.worker == 0 {
					t.Fatalf("a binding with nothing left is not gone: %+v", p)
				}
			},
		})
	})
}

// renamed gives the binding a new id in the engine, as a launch after a failure
// does: what was said of the old id is not heard any more.
func (g *engineModel) renamed() {
	var heard []input
	for _, in := range g.inbox {
		switch in.kind {
		case inActivated:
			if g.alive[in.worker] {
				g.alive[in.worker] = false // the manager ends it
			}
		case inDoomed, inExited, inLived:
			heard = append(heard, in)
		}
	}
	g.inbox, g.newest = heard, 0
}

// A worker that was activated and does not serve is ended when nobody would be
// activated in its place: the launch has failed.
func TestFailedLaunchTakesOneStandby(t *testing.T) {
	_, outs := step(phase{state: Starting, worker: 7, epoch: 1, armed: true}, input{kind: inDeadline})
	var kinds []outputKind
	for _, o := range outs {
		kinds = append(kinds, o.kind)
	}
	require.Equal(t, []outputKind{outRelax, outDisarm, outFail, outPublish, outBroken}, kinds)
}

// die is a death as the engine sees it: it fires the plan, then reports.
func die(g *engineModel, w takeover.WorkerID) {
	g.alive[w] = false
	g.inbox = append(g.inbox, input{kind: inLived, worker: w, short: g.short})
	if g.plan != nil && g.plan.worker == w {
		g.fire()
	}
	g.inbox = append(g.inbox, input{kind: inDoomed, worker: w}, input{kind: inExited, worker: w})
}
