// Package worker is the SDK for pattern programs in Go: it speaks the control
// protocol of docs/PROTOCOL.md, so that a pattern only warms up and serves.
//
// A program's main calls Run with a Pattern. The process is then started by
// understudyd, warms up, and waits as a standby; one day it is activated and
// serves on the listener it is handed, until it is drained or dies. Package
// grpcworker does the rest of it for gRPC servers.
package worker

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"understudy/internal/control"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/shmregistry/segment"
)

// Pattern is what a pattern program does. Only Serve is required.
type Pattern struct {
	// Warm does all work that need not wait for a key: load, allocate,
	// connect, rehearse. config is the manifest's. Its context ends if the
	// worker is not wanted any more; nobody waits for its return then.
	Warm func(ctx context.Context, config map[string]string) error
	// Rehearse goes through everything that stands between an activation and
	// the first answers: it serves on l, a listener like the one that Serve
	// will have, with clients of its own (l.Addr), and returns when they have
	// been answered; l is closed then. It is called once, after Warm, so that
	// the code, the memory and the threads which this takes have been in use
	// when it counts. An error of it fails the start. By default a bare
	// connection is made, if that is possible.
	Rehearse func(ctx context.Context, l net.Listener) error
	// Probe is a canary: it does in small what a request does, and fails or
	// hangs when a request would. It runs one at a time, on standby and beside
	// Serve, never before Warm has returned.
	Probe func(ctx context.Context) error
	// Serve answers on a.Listener() until ctx ends, then finishes what it has
	// begun, within a.Grace(), and returns. Its listeners are closed just after
	// the end of ctx; what it returns then is no failure. To return before is.
	Serve func(ctx context.Context, a *Assignment) error
}

// Assignment is what a standby learns when it is activated.
type Assignment struct {
	// ProcessID is the stable name of the binding.
	ProcessID string
	Pattern   string
	// Epoch rises each time another worker becomes active for the binding.
	Epoch uint64
	Key   Key
	// Config is the manifest's, overlaid with the launch request's.
	Config map[string]string
	// Listeners are the sockets to accept on, at least one: the binding's
	// endpoint is the first. The supervisor learns that the worker is active
	// when Accept is called on that one.
	Listeners []net.Listener
	// Segments are the manifest's shared-memory segments by name, taken for
	// this epoch: an earlier worker cannot commit to them any more.
	Segments map[string]*segment.Segment

	grace   atomic.Int64
	control *control.Conn
}

// Key is what the binding isolates, as far as its level looks at it.
type Key struct {
	Region, Namespace, Session string
	// Level is "none", "namespace" or "session".
	Level string
}

// Listener is the binding's endpoint.
func (a *Assignment) Listener() net.Listener { return a.Listeners[0] }

// Grace is how long Serve may take to return, from the end of its context. It
// is known then, not before.
func (a *Assignment) Grace() time.Duration { return time.Duration(a.grace.Load()) }

// CloseControl cuts the worker off from its supervisor, as a worker that has
// gone wrong would, while it goes on serving. The supervisor then ends it.
func (a *Assignment) CloseControl() error { return a.control.Close() }

func newAssignment(m *understudyv1.Activate, c *control.Conn) *Assignment {
	return &Assignment{
		ProcessID: m.ProcessId,
		Pattern:   m.Pattern,
		Epoch:     m.Epoch,
		Key: Key{
			Region:    m.GetKey().GetRegion(),
			Namespace: m.GetKey().GetNamespace(),
			Session:   m.GetKey().GetSession(),
			Level:     m.GetKey().GetLevel(),
		},
		Config:  m.Config,
		control: c,
	}
}
