package main

import (
	"fmt"

	"understudy/bench/internal/report"
	"understudy/sentinel"
)

// watcher is a sentinel on a thread of its own, with one source.
type watcher struct {
	*sentinel.Sentinel
	source  sentinel.Source
	notices chan sentinel.Notice
}

// startWatchers starts a sentinel for each early source that works here. The
// pidfd's notice, exited, comes from the first.
func (b *bench) startWatchers() error {
	for _, source := range []sentinel.Source{sentinel.SourceKernel, sentinel.SourceConnector} {
		if err := b.startWatcher(source); err != nil {
			b.report.Note("%v", err)
		}
	}
	if len(b.watchers) == 0 {
		return b.startWatcher(sentinel.SourcePidfd)
	}
	return nil
}

func (b *bench) startWatcher(source sentinel.Source) error {
	s, err := sentinel.New(sentinel.Options{Source: source, Realtime: b.realtime})
	if err != nil {
		return err
	}
	w := &watcher{Sentinel: s, source: source, notices: make(chan sentinel.Notice, 8)}
	started := make(chan struct{})
	go func() { _ = s.Run(func() { close(started) }) }()
	<-started
	b.watchers = append(b.watchers, w)
	for _, f := range s.Status()[1:] {
		if !f.Best && b.realtime && f.Name == "real-time priority" {
			b.report.Note("source %s: %s: %s (%s)", source, f.Name, f.InUse, f.Why)
		}
	}
	return nil
}

func (b *bench) stopWatchers() {
	for _, w := range b.watchers {
		w.Close()
		<-w.Done()
	}
}

// table is the lines of one row of the plan, made when they have something.
type table struct {
	bench *bench
	row   row
	lines map[string]*report.Row
}

func (t *table) line(source sentinel.Source, kind sentinel.Kind) *report.Row {
	key := source.String() + kind.String()
	l := t.lines[key]
	if l == nil {
		l = t.bench.report.Row(source.String(), kind.String(), fmt.Sprintf("%d MB", t.row.mb),
			string(t.row.death), t.row.load, t.row.worker)
		l.Floor = t.bench.floors[t.row.load]
		t.lines[key] = l
	}
	return l
}
