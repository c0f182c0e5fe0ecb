// Package worker is the SDK for pattern programs in Go: it speaks the control
// protocol of docs/PROTOCOL.md, so that a pattern only warms up and serves.
//
// A program's main calls Run with a Pattern. The process is then started by
// understudyd, warms up, and waits as a standby; one day it is activated and
// serves on the listener it is handed, until it is drained or dies.
package worker

import (
	"context"
	"net"
	"time"

	understudyv1 "understudy/proto/understudy/v1"
)

// Pattern is what a pattern program does.
type Pattern struct {
	// Warm does all work that need not wait for a key: load, allocate,
	// connect, rehearse. config is the manifest's. Optional.
	Warm func(ctx context.Context, config map[string]string) error
	// Probe is a canary: it does in small what a request does, and fails or
	// hangs when a request would. Optional. It runs one at a time.
	Probe func(ctx context.Context) error
	// Serve answers on a.Listener() until ctx ends, then finishes what it has
	// begun, within a.Grace(), and returns.
	Serve func(ctx context.Context, a *Assignment) error
}

// Assignment is what a standby learns when it is activated.
type Assignment struct {
	// ProcessID is the stable name of the binding; Epoch rises each time
	// another worker becomes active for it.
	ProcessID string
	Pattern   string
	Epoch     uint64
	Key       Key
	// Config is the manifest's, overlaid with the launch request's.
	Config map[string]string
	// Listeners are the sockets to accept on; the binding's endpoint is first.
	Listeners []net.Listener

	session *session
}

// Key is what the binding isolates, as far as its level looks at it.
type Key struct {
	Region, Namespace, Session string
	// Level is "none", "namespace" or "session".
	Level string
}

// Listener is the binding's endpoint.
func (a *Assignment) Listener() net.Listener { return a.Listeners[0] }

// Grace is how long Serve may take to return once its context has ended.
func (a *Assignment) Grace() time.Duration { return time.Duration(a.session.grace.Load()) }

// CloseControl cuts the worker off from its supervisor, which then ends it.
// It is there for tests of just that.
func (a *Assignment) CloseControl() { a.session.conn.Close() }

func assignment(m *understudyv1.Activate, s *session) *Assignment {
	return &Assignment{ProcessID: m.ProcessId, Pattern: m.Pattern, Epoch: m.Epoch, Config: m.Config, session: s,
		Key: Key{Region: m.GetKey().GetRegion(), Namespace: m.GetKey().GetNamespace(),
			Session: m.GetKey().GetSession(), Level: m.GetKey().GetLevel()}}
}
