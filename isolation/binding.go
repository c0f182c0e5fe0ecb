package isolation

import (
	"errors"
	"time"
)

// State is where a binding stands.
type State uint8

// The states of a binding.
const (
	// Starting: launched, no worker has been active yet.
	Starting State = iota
	// Active: a worker accepts on the endpoint.
	Active
	// Recovering: the active worker is doomed and no other is active yet.
	Recovering
	// Draining: the binding is being ended.
	Draining
	// Failed: no worker could be started; a new launch tries again.
	Failed
	// Gone: the binding has ended; only the last route of it says so.
	Gone
)

var stateNames = [...]string{"starting", "active", "recovering", "draining", "failed", "gone"}

// String returns the state's name in lower case.
func (s State) String() string { return stateNames[s] }

// Errors that a caller may act on. A start that failed is a *pool.StartError,
// a malformed request a *FieldError.
var (
	// ErrUnknownPattern: no pattern of that name was loaded.
	ErrUnknownPattern = errors.New("unknown pattern")
	// ErrUnknownBinding: no binding has that process id.
	ErrUnknownBinding = errors.New("unknown process id")
	// ErrNoActiveWorker: the binding has no active worker at this moment.
	ErrNoActiveWorker = errors.New("no active worker")
	// ErrQuarantined: the binding spent its crash budget and must wait.
	ErrQuarantined = errors.New("crash budget is spent")
	// ErrCrashLoop: its workers die too soon after their activation, one after the
	// other, and it must wait.
	ErrCrashLoop = errors.New("crash loop")
	// ErrTerminated: the binding was ended while the caller waited for it.
	ErrTerminated = errors.New("terminated while starting")
	// ErrExhausted: a limit of the supervisor's is reached.
	ErrExhausted = errors.New("limit is reached")
	// ErrClosed: the supervisor is stopping.
	ErrClosed = errors.New("supervisor is stopping")
)

// Binding is a snapshot of one binding.
type Binding struct {
	ProcessID string
	Pattern   string
	Key       Key
	State     State
	// Healthy: active, the last probe was answered, and clients find the endpoint.
	Healthy bool
	// Address in gRPC target form: "unix:///path" or "127.0.0.1:port".
	Address string
	Epoch   uint64
	// Worker and Pid name the active worker; "" and 0 without one.
	Worker string
	Pid    int
	Config map[string]string
	// LaunchedBy is the user id of who launched it; -1 where nobody knows.
	LaunchedBy int64
	Created    time.Time
	Activated  time.Time
	// Restarts counts the workers that became active after the first.
	Restarts int
	// Errors counts deaths and failed starts; LastError is the newest.
	Errors    int
	LastError string
	// Segments and their bytes of data that the registry keeps for it.
	Segments     int
	SegmentBytes int64
	// OwnObjects and OwnBytes are shared memory that the active worker made by
	// itself.
	OwnObjects int
	OwnBytes   int64
	// Backlog is how many connections may wait at the endpoint; BacklogCut: the
	// manifest asks for more than the kernel allows.
	Backlog    int
	BacklogCut bool
	// Standby: a warm standby could take over at this moment. It may be that of
	// other bindings of the pattern too.
	Standby bool
	// EndpointRepairs counts how often the endpoint had to be made again.
	EndpointRepairs int
	// Notes are what an operator should know.
	Notes []string
}

// AcquireRequest asks for a binding.
type AcquireRequest struct {
	Pattern string
	Key     Key
	// Config overlays the manifest's config. It counts when the binding is
	// made; acquiring a bound key again does not change it.
	Config map[string]string
	// LaunchedBy is the user id of who asks; -1 where nobody knows.
	LaunchedBy int64
	// Grace is how long the worker may take to stop when the binding ends;
	// 0 means the manifest's value.
	Grace time.Duration
}

// ReleaseOptions says how a binding ends.
type ReleaseOptions struct {
	// Grace overrides the binding's grace period where it is not 0.
	Grace time.Duration
	// Force kills at once.
	Force bool
}

// Reason says why a route was published.
type Reason uint8

// The reasons of a route.
const (
	ReasonLaunch Reason = iota + 1
	ReasonFailover
	ReasonTerminate
	ReasonFailed
	// ReasonHandover: the former worker is well and drains.
	ReasonHandover
)

// Route is what a proxy needs to know of a binding.
type Route struct {
	ProcessID string
	Pattern   string
	Key       Key
	Address   string
	Epoch     uint64
	Pid       int
	State     State
	Reason    Reason
	// Death is when the kernel saw the death that caused this route, and
	// Published when the route was published: CLOCK_MONOTONIC nanoseconds.
	// Death is 0 where no death did.
	Death     int64
	Published int64
}

// RoutesUpdate is one step of the route table, as Watcher.Next returns it.
type RoutesUpdate struct {
	// Full: Routes is all there are.
	Full     bool
	Routes   []Route
	Revision uint64
}
