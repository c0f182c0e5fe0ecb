package pool

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// model is the world around one worker: its process, its timers, its answers,
// the engine. It carries out what step says, and knows what must never be.
type model struct {
	t   *rapid.T
	l   life
	now time.Time

	process  bool // it has one that is not reaped
	dying    bool
	ended    int
	told     bool // to stop
	stopBy   time.Time
	killed   bool
	offered  bool
	asked    bool // back, of the engine
	standby  bool // it was told of one
	startEnd int
	failed   int // StartFailed
	cause    CauseKind
	reached  map[State]int
	timers   map[timer]set
	judging  []input  // what is asked with outCatchUp, oldest first
	probes   []uint64 // sent, and not answered yet
	socket   []input  // said, and not handled yet
}

type set struct {
	serial uint32
	at     time.Time
}

var modelLimits = limits{start: 10 * time.Second, grace: 5 * time.Second, probe: 2 * time.Second, interval: time.Second, failures: 2}

func newModel(t *rapid.T) *model {
	m := &model{t: t, now: time.Unix(1, 0), timers: map[timer]set{}, reached: map[State]int{}, l: life{limits: modelLimits}}
	m.l.limits.interval = rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "interval")
	return m
}

// tellsOthers are the outputs after which others may act on the worker.
func tellsOthers(k outputKind) bool { return k >= outUnnoticed }

func (m *model) feed(in input) {
	t := m.t
	before := m.l
	var outs []output
	m.l, outs = step(m.l, in)
	if m.ended > 0 && len(outs) > 0 {
		t.Fatalf("done to a worker after its end: %+v", outs)
	}
	if before.cause.Kind != "" && m.l.cause != before.cause {
		t.Fatalf("its cause changed from %v to %v", before.cause, m.l.cause)
	}
	m.reached[m.l.state]++
	told := false
	for _, o := range outs {
		if told && !tellsOthers(o.kind) {
			t.Fatalf("%v comes after others were told: %+v", o.kind, outs)
		}
		told = told || tellsOthers(o.kind)
		m.do(o)
	}
}

func (m *model) do(o output) {
	t := m.t
	needs := func(ok bool, what string) {
		if !ok {
			t.Fatalf("%s: output %d in %+v", what, o.kind, m.l)
		}
	}
	switch o.kind {
	case outStarted, outHeir, outDrain, outRetire, outMute, outUnmute, outFailing, outLate, outCondemn, outReap:
		needs(m.process, "done to a process that is not there")
	case outProbe:
		needs(m.process && !m.told && !m.killed, "probed while it ends")
		m.probes = append(m.probes, o.id)
	case outSet:
		needs(m.process && !m.killed, "a timer of a worker that ends already")
		m.timers[o.timer] = set{o.serial, m.now.Add(o.after)}
		if o.timer == timerGrace {
			by := m.now.Add(o.after)
			needs(m.stopBy.IsZero() || by.Before(m.stopBy), "a later stop than was said")
			m.stopBy = by
		}
	case outDrop:
		_, ok := m.timers[o.timer]
		judged := false
		for _, in := range m.judging {
			judged = judged || in.timer == o.timer
		}
		needs(ok || judged, "a timer is dropped that is not set")
		delete(m.timers, o.timer)
	case outCatchUp:
		m.judging = append(m.judging, input{kind: inJudge, timer: o.timer, serial: o.serial})
	case outStartOver:
		m.startEnd++
	case outOffer:
		needs(m.process && !m.told && !m.killed && m.l.ready, "offered")
		needs(o.again == m.offered, "offered twice")
		needs(!m.asked, "offered while it is asked back")
		m.offered = true
	case outWithdraw:
		needs(m.offered && !m.killed, "asked back and never offered")
		needs(o.again == m.asked, "asked back twice")
		m.asked = true
	case outKill:
		needs(m.process && !m.killed, "killed twice, or dead")
		m.killed, m.dying = true, true
		m.cause = m.l.cause.Kind
		needs(m.cause != "", "killed without a cause")
	case outReady:
		needs(m.process && m.offered, "a standby that is not offered")
		m.standby = true
	case outExited:
		needs(!m.process, "exited and not reaped")
	case outEnded:
		m.ended++
	case outStartFailed:
		needs(m.ended == 1 && !m.standby && !m.told, "a failed start of one that was a standby, or was to stop")
		m.failed++
	}
}

// fire takes the oldest timer that is due.
func (m *model) fire(k timer) {
	s := m.timers[k]
	delete(m.timers, k)
	m.feed(input{kind: inTimer, timer: k, serial: s.serial, dead: k == timerControl && m.dying})
}

// handle takes what the worker said first.
func (m *model) handle() {
	in := m.socket[0]
	m.socket = m.socket[1:]
	before := m.l
	m.feed(in)
	if in.kind == inAnswer && in.cause.Err == nil && before.asked && in.id == before.probe && m.l.cause != before.cause {
		m.t.Fatalf("a good answer made it fail: %+v", m.l.cause)
	}
}

func (m *model) say(in input) {
	if m.process && !m.dying {
		m.socket = append(m.socket, in)
	}
}

// seldom keeps what ends a life from ending most of them early.
func seldom(t *rapid.T) bool { return rapid.IntRange(0, 7).Draw(t, "seldom") == 0 }

func (m *model) seldom(t *rapid.T, in input) {
	if seldom(t) {
		m.say(in)
	}
}

func TestWorkersLifeAgainstItsModel(t *testing.T) {
	reached := map[State]int{}
	for range 20 { // a life is short, and few are full
		rapid.Check(t, func(t *rapid.T) { liveOnce(t, reached) })
	}
	for state := Starting; state <= Failed; state++ {
		require.NotZerof(t, reached[state], "no life came to %v", state)
	}
}

// liveOnce leads a worker through a life, and counts where it came to.
func liveOnce(t *rapid.T, reached map[State]int) {
	m := newModel(t)
	bad := errors.New("bad")
	t.Repeat(map[string]func(*rapid.T){
		"there is no process": func(*rapid.T) {
			if m.l.process == unmade {
				m.feed(input{kind: inUnmade, cause: Cause{Kind: CauseSpawn, Err: bad}})
			}
		},
		"it runs": func(t *rapid.T) {
			if m.l.process == unmade {
				m.process = true
				in := input{kind: inRunning}
				if rapid.IntRange(0, 9).Draw(t, "cannot be watched") == 0 {
					in.cause = Cause{Kind: CauseSpawn, Err: bad}
				}
				m.feed(in)
			}
		},
		"does well": func(t *rapid.T) { // most lives come to nothing otherwise
			for range rapid.IntRange(1, 3).Draw(t, "times") {
				if m.process && !m.l.ready {
					m.say(input{kind: inReady})
				}
				for len(m.socket) > 0 {
					m.handle()
				}
				for _, id := range m.probes {
					m.say(input{kind: inAnswer, id: id})
				}
				m.probes = nil
			}
		},
		"says ready": func(t *rapid.T) { m.say(input{kind: inReady, heir: rapid.IntRange(0, 1).Draw(t, "heir")}) },
		"answers": func(t *rapid.T) {
			if len(m.probes) > 0 {
				in := input{kind: inAnswer, id: m.probes[0]}
				m.probes = m.probes[1:]
				if rapid.IntRange(0, 9).Draw(t, "unwell") == 0 {
					in.cause = Cause{Kind: CauseUnhealthy, Err: bad}
				}
				m.say(in)
			}
		},
		"answers what nobody asked": func(t *rapid.T) { m.say(input{kind: inAnswer, id: rapid.Uint64Range(0, 9).Draw(t, "id")}) },
		"gives up":                  func(t *rapid.T) { m.seldom(t, input{kind: inFatal, cause: Cause{Kind: CauseFatal, Err: bad}}) },
		"closes":                    func(t *rapid.T) { m.seldom(t, input{kind: inLost, closed: true}) },
		"says nonsense":             func(t *rapid.T) { m.seldom(t, input{kind: inLost, cause: Cause{Kind: CauseProtocol, Err: bad}}) },
		"is heard": func(*rapid.T) {
			if len(m.socket) > 0 {
				m.handle()
			}
		},
		"time passes": func(t *rapid.T) {
			m.now = m.now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
		},
		"a timer is handled": func(t *rapid.T) { // whatever else is due
			k := timer(rapid.IntRange(0, int(timerCount)-1).Draw(t, "timer"))
			if s, ok := m.timers[k]; ok && !s.at.After(m.now) {
				m.fire(k)
			}
		},
		"all that came is handled": func(*rapid.T) {
			if len(m.judging) > 0 {
				for len(m.socket) > 0 {
					m.handle()
				}
				in := m.judging[0]
				m.judging = m.judging[1:]
				m.feed(in)
			}
		},
		"too many": func(*rapid.T) { m.feed(input{kind: inRetire}) },
		"the engine answers": func(t *rapid.T) {
			if m.asked {
				m.asked = false
				ok := rapid.Bool().Draw(t, "ok")
				m.offered = m.offered && !ok
				m.stopping(func() { m.feed(input{kind: inWithdrawn, ok: ok, now: m.now}) })
			}
		},
		"activated": func(*rapid.T) {
			if m.process && (m.offered || m.l.state == Warming && m.l.warm) { // or by an engine that is gone
				m.offered, m.asked = false, false
				m.feed(input{kind: inActivated})
			}
		},
		"a new engine": func(*rapid.T) {
			m.offered, m.asked = false, false
			m.feed(input{kind: inEngineLost})
		},
		"the engine does not take it": func(*rapid.T) {
			if !m.asked {
				m.offered = false
				m.feed(input{kind: inNotTaken})
			}
		},
		"reconcile": func(*rapid.T) { m.feed(input{kind: inReassert}) },
		"stop": func(t *rapid.T) {
			if !m.told && !seldom(t) {
				return
			}
			grace := time.Duration(rapid.IntRange(0, 8).Draw(t, "grace")) * time.Second
			m.stopping(func() { m.feed(input{kind: inStop, now: m.now, grace: grace}) })
		},
		"fail": func(t *rapid.T) {
			if seldom(t) {
				m.feed(input{kind: inFail, cause: Cause{Kind: CauseNotServing, Err: bad}})
			}
		},
		"dies": func(t *rapid.T) { m.dying = m.dying || m.process && seldom(t) },
		"reaped": func(t *rapid.T) {
			if m.process && m.dying {
				m.process, m.offered = false, false
				m.feed(input{kind: inExited, young: rapid.Bool().Draw(t, "young")})
			}
		},
		"last words are read": func(*rapid.T) {
			if m.l.process == reaped {
				for len(m.socket) > 0 {
					m.handle()
				}
				m.feed(input{kind: inSilent})
			}
		},
		"": func(*rapid.T) { m.check() },
	})
	m.end()
	for state, n := range m.reached {
		reached[state] += n
	}
}

// stopping notes that the worker is told to stop by f, where it can be.
func (m *model) stopping(f func()) {
	running, killed := m.process, m.killed
	f()
	if running && !killed && m.l.state == Draining {
		m.told = true
	}
}

func (m *model) check() {
	t := m.t
	l := m.l
	switch {
	case l.healthy && (!l.ready || !m.process):
		t.Fatalf("healthy and not ready, or dead: %+v", l)
	case m.ended > 1:
		t.Fatalf("it ended %d times", m.ended)
	case (m.ended == 1) != (l.process == over):
		t.Fatalf("its end was not told, or is not one: %+v", l)
	case m.startEnd > 1, m.ended == 1 && m.startEnd != 1:
		t.Fatalf("its start was over %d times", m.startEnd)
	case m.ended == 1 && l.state != Terminated && l.state != Failed:
		t.Fatalf("it ended as %v", l.state)
	case m.told && m.process && !m.killed && m.timers[timerGrace].serial == 0:
		t.Fatalf("it was told to stop, and nothing kills it: %+v", l)
	case m.told && m.process && l.state != Draining:
		t.Fatalf("it was told to stop, and is %v", l.state)
	case l.timers[timerProbe].serial != 0 && !l.asked:
		t.Fatalf("an answer is waited for that nobody asked for: %+v", l)
	case l.timers[timerStart].serial != 0 && l.state != Warming:
		t.Fatalf("the start of a worker that is %v is bounded", l.state)
	case m.killed && m.process && len(m.timers) > 0:
		t.Fatalf("it is being killed, and timers run: %v", m.timers)
	}
	if !m.stopBy.IsZero() && m.process && !m.killed && m.timers[timerGrace].at.After(m.stopBy) {
		t.Fatalf("it is killed later than was said first")
	}
	// What the worker's life thinks is set is set, or is being judged.
	for k, s := range l.timers {
		if s.serial == 0 {
			continue
		}
		if s.fired {
			judged := false
			for _, in := range m.judging {
				judged = judged || in.serial == s.serial
			}
			if !judged {
				t.Fatalf("timer %d waits for a judgement that does not come", k)
			}
		} else if m.timers[timer(k)].serial != s.serial {
			t.Fatalf("timer %d is said to be set, and is not", k)
		}
	}
	for k, s := range m.timers {
		if l.timers[k].serial != s.serial {
			t.Fatalf("timer %d is set, and nobody waits for it", k)
		}
	}
	// A worker that warms up or serves has something that moves it on.
	if m.process && !m.killed && l.state == Warming && l.timers[timerStart].serial == 0 {
		t.Fatalf("nothing bounds its start: %+v", l)
	}
	if m.process && !m.killed && (l.state == Standby || l.state == Active) && l.limits.interval > 0 &&
		l.cause.Kind == "" && l.timers[timerNext].serial == 0 && l.timers[timerProbe].serial == 0 {
		t.Fatalf("nobody asks for its health: %+v", l)
	}
	if m.process && !m.killed && l.cause.Kind != "" && l.timers[timerExit].serial == 0 && l.timers[timerGrace].serial == 0 {
		t.Fatalf("it gave up, and nothing kills it: %+v", l)
	}
}

// end lets the worker die, and whatever is under way come to its end.
func (m *model) end() {
	if m.l.process == unmade {
		m.feed(input{kind: inUnmade, cause: Cause{Kind: CauseSpawn}})
	}
	if m.process {
		m.process, m.offered = false, false
		m.feed(input{kind: inExited})
	}
	m.feed(input{kind: inSilent})
	if m.ended != 1 || len(m.timers) > 0 {
		m.t.Fatalf("it ended %d times and left timers %v", m.ended, m.timers)
	}
	for _, kind := range []inputKind{inReady, inAnswer, inFatal, inLost, inRetire, inWithdrawn, inActivated, inStop, inFail, inEngineLost, inReassert, inSeenDead, inExited, inSilent} {
		m.feed(input{kind: kind, now: m.now})
	}
	m.check()
}

// at runs a life through inputs and returns the outputs of the last one.
func at(t *testing.T, inputs ...input) (life, []outputKind) {
	t.Helper()
	l := life{limits: modelLimits}
	var kinds []outputKind
	for _, in := range inputs {
		if in.kind == inTimer || in.kind == inJudge {
			in.serial = l.timers[in.timer].serial
		}
		if in.kind == inAnswer && in.id == 0 {
			in.id = l.probe
		}
		var outs []output
		l, outs = step(l, in)
		kinds = nil
		for _, o := range outs {
			kinds = append(kinds, o.kind)
		}
	}
	return l, kinds
}

// A supervisor that was held up finds timers and answers due at once. An answer
// that had come before its timer is handled counts.
func TestAnswerThatCameBeforeItsTimerIsHandledCounts(t *testing.T) {
	standby := []input{{kind: inRunning}, {kind: inReady}, {kind: inAnswer}, {kind: inTimer, timer: timerNext}}
	l, outs := at(t, append(standby, input{kind: inTimer, timer: timerProbe})...)
	require.Equal(t, []outputKind{outCatchUp}, outs, "judged before its words are read")
	require.True(t, l.healthy)
	l, outs = at(t, append(standby, input{kind: inTimer, timer: timerProbe}, input{kind: inAnswer})...)
	require.True(t, l.healthy)
	require.Contains(t, outs, outSet, "the next probe")
	l, outs = at(t, append(standby, input{kind: inTimer, timer: timerProbe}, input{kind: inAnswer}, input{kind: inJudge, timer: timerProbe})...)
	require.Empty(t, outs)
	require.True(t, l.healthy)
	l, _ = at(t, append(standby, input{kind: inTimer, timer: timerProbe}, input{kind: inJudge, timer: timerProbe})...)
	require.Equal(t, CauseHung, l.cause.Kind)
	require.True(t, l.killed)
}

// The same goes for a start.
func TestReadyThatCameBeforeTheStartTimeoutIsHandledCounts(t *testing.T) {
	l, _ := at(t, input{kind: inRunning}, input{kind: inTimer, timer: timerStart}, input{kind: inReady}, input{kind: inAnswer},
		input{kind: inJudge, timer: timerStart})
	require.Equal(t, Standby, l.state)
	l, _ = at(t, input{kind: inRunning}, input{kind: inTimer, timer: timerStart}, input{kind: inJudge, timer: timerStart})
	require.Equal(t, CauseStartTimeout, l.cause.Kind)
	require.Equal(t, StepHandshake, l.step)
}

func TestCausesOfAStop(t *testing.T) {
	now := time.Unix(1, 0)
	for want, how := range map[CauseKind][]input{
		CauseStopped: {{kind: inStop, now: now, grace: time.Second}, {kind: inExited}},
		CauseGrace:   {{kind: inStop, now: now, grace: time.Second}, {kind: inTimer, timer: timerGrace}, {kind: inExited}},
		CauseForced:  {{kind: inStop, now: now, grace: time.Second}, {kind: inStop, now: now}, {kind: inExited}},
		CauseExit:    {{kind: inExited}},
	} {
		l, _ := at(t, append([]input{{kind: inRunning}, {kind: inReady}, {kind: inAnswer}}, how...)...)
		require.Equal(t, want, l.ended().Kind)
		if want == CauseExit {
			require.Equal(t, Failed, l.state)
		} else {
			require.Equal(t, Terminated, l.state)
		}
	}
}

// A worker that was told to stop and is activated all the same stops in its
// time.
func TestActivationDoesNotUndoAStop(t *testing.T) {
	now := time.Unix(1, 0)
	l, outs := at(t, input{kind: inRunning}, input{kind: inReady}, input{kind: inAnswer},
		input{kind: inStop, now: now, grace: time.Second}, input{kind: inActivated})
	require.Equal(t, Draining, l.state)
	require.Empty(t, outs)
	require.NotZero(t, l.timers[timerGrace].serial)
}
