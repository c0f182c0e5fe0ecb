package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"understudy/internal/procfs"
	"understudy/takeover"
)

const (
	// heartbeat is how often the engine is asked whether it lives, where nothing
	// else would show it, and how long it may take to answer.
	heartbeat = 3 * time.Second
	// answerTime is how long the engine may take for what it does at once: it
	// reports a death pace.Breather later at the latest.
	answerTime = 5 * time.Millisecond
	// pingTime is how long it may then take to answer a ping, and busyTime where
	// it is runnable, and others have its processor: without real-time priority
	// a busy machine can do that.
	pingTime = 50 * time.Millisecond
	busyTime = time.Second
)

// beatEngine asks the engine for an answer at every heartbeat, also while we stop:
// a binding ends only when the engine has confirmed it.
func (s *Supervisor) beatEngine(ctx context.Context) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
		done := make(chan struct{})
		if s.loop.Post(func() { s.pingEngine(); close(done) }) != nil {
			return
		}
		select {
		case <-done: // a loop that is held up has no queue of these
		case <-s.loop.Ended():
			return
		}
	}
}

func (s *Supervisor) pingEngine() {
	if s.pings > s.pongs {
		s.replaceEngine("did not answer for " + heartbeat.String()) // it had a whole beat
		return
	}
	if s.engine.Ping() == nil {
		s.pings++
	}
}

// replaceEngine ends an engine that hangs. keepEngine notices, and starts
// another.
func (s *Supervisor) replaceEngine(why string) {
	s.log.Error("takeover engine hangs; ending it", "pid", s.engine.Pid(), "why", why)
	s.repaired("the engine " + why)
	s.engine.Kill()
	s.replaced = s.engine
	s.pings = s.pongs
}

// expectEngine is called when the engine has something to say: a worker has
// died, or it was asked for something. If nothing comes it may hang, and is
// looked at. A healthy one is not woken by that.
func (s *Supervisor) expectEngine() {
	if s.doubted || s.engine == nil || s.engine == s.replaced || s.engine.Pid() == os.Getpid() { // a thread cannot be replaced
		return
	}
	s.doubted = true
	d := doubt{engine: s.engine, heard: s.heard}
	s.later(answerTime, func() {
		switch {
		case d.cleared(s):
			s.doubted = false
		case states(d.engine.Pid()).stopped:
			s.doubted = false
			s.replaceEngine("was stopped")
		default:
			_ = d.engine.Ping()
			d.asked, d.due = time.Now(), time.Now().Add(pingTime)
			s.later(pingTime, func() { s.judgeEngine(d) })
		}
	})
}

// doubt is a question that the engine has not answered yet.
type doubt struct {
	engine *takeover.Client
	heard  uint64 // what s.heard was when it began
	asked  time.Time
	due    time.Time // of the next look
}

// cleared reports whether the engine has told anything since, or has ended.
func (d doubt) cleared(s *Supervisor) bool {
	select {
	case <-d.engine.Done():
		return true
	default:
		return s.engine != d.engine || s.heard != d.heard || s.engine == s.replaced
	}
}

func (s *Supervisor) judgeEngine(d doubt) {
	s.doubted = false
	if d.cleared(s) {
		return
	}
	now := time.Now()
	verdict := judge(now.Sub(d.asked), now.Sub(d.due), states(d.engine.Pid()))
	if verdict != "" {
		s.replaceEngine(verdict)
		return
	}
	s.doubted = true
	d.due = now.Add(pingTime)
	s.later(pingTime, func() { s.judgeEngine(d) })
}

// judge says why an engine is to be replaced that has not answered for some
// time, or "": another look is needed. late is by how much this look itself
// came late: then the machine held us up, and may have held up the engine.
func judge(silent, late time.Duration, threads threadStates) string {
	switch {
	case threads.stopped:
		return "was stopped"
	case silent < busyTime && (threads.runnable || late > pingTime/2):
		return ""
	}
	return fmt.Sprintf("did not answer for %v", silent.Round(time.Millisecond))
}

func (s *Supervisor) later(d time.Duration, f func()) {
	s.loop.After(d, f)
}

// threadStates is what the threads of a process are doing.
type threadStates struct {
	stopped  bool // by a signal or a tracer, one of them at least
	runnable bool // one of them wants a processor, or has one
}

func states(pid int) (all threadStates) {
	stats, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/[0-9]*")
	for _, path := range stats {
		thread, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		if st, err := procfs.ReadStat(thread); err == nil { // /proc/TID is there, though not listed
			all.stopped = all.stopped || st.State == 'T' || st.State == 't'
			all.runnable = all.runnable || st.State == 'R'
		}
	}
	return all
}
