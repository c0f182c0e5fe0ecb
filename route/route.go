package route

import (
	"errors"
	"fmt"
	"strings"

	"understudy/internal/procid"
	understudyv1 "understudy/proto/understudy/v1"
)

// Key names a binding by what a request knows. What it holds says the level:
// with a session, the session's worker; else with a namespace, the namespace's;
// else the one that everybody shares. With both, it is the session that is the
// namespace's own, where its pattern keeps sessions of namespaces apart
// (session_scope: namespace_session), else the session that all namespaces
// share.
type Key struct {
	Pattern   string
	Namespace string
	Session   string
}

// ProcessID is the supervisor's name for the binding. With a namespace and a
// session it is that of the session that all namespaces share.
func (k Key) ProcessID() string { return k.identity().String() }

// ParseProcessID returns the key of a binding's process id.
func ParseProcessID(id string) (Key, error) {
	if i, ok := procid.Parse(id); ok {
		return keyOf(i), nil
	}
	return Key{}, fmt.Errorf("route: %q is no process id", id)
}

// identity is a binding's: a process id taken apart.
type identity = procid.ID

// identity is a key without what its level does not look at.
func (k Key) identity() identity {
	switch {
	case k.Session != "":
		return identity{Level: procid.Session, Session: k.Session, Pattern: k.Pattern}
	case k.Namespace != "":
		return identity{Level: procid.Namespace, Namespace: k.Namespace, Pattern: k.Pattern}
	}
	return identity{Pattern: k.Pattern}
}

// own is the key's where the pattern keeps sessions of namespaces apart. ok is
// false where the key does not name both.
func (k Key) own() (i identity, ok bool) {
	i = k.identity()
	i.Namespace = k.Namespace
	return i, k.Session != "" && k.Namespace != ""
}

func keyOf(i identity) Key {
	return Key{Pattern: i.Pattern, Namespace: i.Namespace, Session: i.Session}
}

// State says whether a route answers.
type State uint8

const (
	// Gone: no such binding, or it ended. There is no address.
	Gone State = iota
	// Active: a worker answers.
	Active
	// Waiting: no worker at the moment; connections queue at the address.
	Waiting
)

// String returns "gone", "active" or "waiting".
func (s State) String() string {
	switch s {
	case Active:
		return "active"
	case Waiting:
		return "waiting"
	}
	return "gone"
}

// Route is where a binding answers. The routes that a table gives are shared and
// never change: look it up again for the next one.
type Route struct {
	ProcessID string
	Pattern   string
	Namespace string
	Session   string
	// Address is gRPC's form of it: "unix:///path" or "127.0.0.1:port". It
	// stays as long as the binding lives. SplitAddress takes it apart.
	Address string
	// Epoch is one higher each time another worker becomes active.
	Epoch uint64
	// Pid of the active worker, as the supervisor sees it; 0 without one.
	Pid   int
	State State
	// Failed: the route is gone because no worker could be started or the
	// worker crashed too often.
	Failed bool
	// Death is when the kernel saw the death that this route follows, and
	// Published when the supervisor published it: CLOCK_MONOTONIC of the
	// supervisor's machine in nanoseconds. Death is 0 where nobody died.
	Death     int64
	Published int64
}

var errMalformed = errors.New("malformed route")

// fromMessage checks that a route can be used; what it is depends on the
// supervisor alone.
func fromMessage(m *understudyv1.Route) (*Route, identity, error) {
	r := &Route{
		ProcessID: m.GetProcessId(),
		Pattern:   m.GetPattern(),
		Namespace: m.GetNamespace(),
		Session:   m.GetSession(),
		Address:   m.GetAddress(),
		Epoch:     m.GetEpoch(),
		Pid:       int(m.GetPid()),
		Failed:    m.GetReason() == understudyv1.RouteReason_ROUTE_REASON_FAILED,
		Death:     m.GetDeathMonotonicNs(),
		Published: m.GetPublishedMonotonicNs(),
	}
	i, ok := procid.Parse(r.ProcessID)
	if !ok {
		return r, i, fmt.Errorf("%w: process id %q", errMalformed, r.ProcessID)
	}
	switch m.GetState() {
	case understudyv1.RouteState_ROUTE_STATE_ACTIVE:
		r.State = Active
	case understudyv1.RouteState_ROUTE_STATE_WAITING:
		r.State = Waiting
	case understudyv1.RouteState_ROUTE_STATE_GONE:
		r.State, r.Address = Gone, ""
	default:
		return r, i, fmt.Errorf("%w: %s: state %v", errMalformed, r.ProcessID, m.GetState())
	}
	if r.State != Gone && r.Address == "" {
		return r, i, fmt.Errorf("%w: %s: no address", errMalformed, r.ProcessID)
	}
	return r, i, nil
}

// goneRoute is the route of a binding that does not exist.
func goneRoute(i identity) *Route {
	return &Route{ProcessID: i.String(), Pattern: i.Pattern, Namespace: i.Namespace, Session: i.Session}
}

// SplitAddress returns what net.Dial takes for a route's address.
func SplitAddress(address string) (network, name string) {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		return "unix", path
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path
	}
	return "tcp", address
}
