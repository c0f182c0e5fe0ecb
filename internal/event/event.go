// Package event is the record of what happened, as every room tells it and
// the supervisor passes it on. It decides nothing.
package event

import "time"

// Kind names what happened, for programs.
type Kind string

// The kinds of events.
const (
	WorkerStarted Kind = "worker_started"
	WorkerReady   Kind = "worker_ready"
	WorkerExited  Kind = "worker_exited"
	WorkerHung    Kind = "worker_hung"
	WorkerFailed  Kind = "worker_failed"
	StartFailed   Kind = "start_failed"
	Launched      Kind = "launched"
	Failover      Kind = "failover"
	Handover      Kind = "handover"
	SessionShared Kind = "session_shared"
	NoStandby     Kind = "no_standby"
	BindingFailed Kind = "binding_failed"
	// Hedged: an activated worker is stuck, and another standby takes its place.
	Hedged Kind = "hedged"
	// CrashLoop: a binding waits, because its workers die too soon.
	CrashLoop Kind = "crash_loop"
	// Unprotected: an active worker has no successor, because the engine does
	// not take the plan.
	Unprotected Kind = "unprotected"
	// ActivationRetried: an activation could not be sent at once.
	ActivationRetried Kind = "activation_retried"
	Terminated        Kind = "terminated"
	Repaired          Kind = "repaired"
	SharedMemory      Kind = "shared_memory"
	SentinelExited    Kind = "sentinel_exited"
)

// Event is one thing that happened. Fields that do not apply are zero.
type Event struct {
	Time      time.Time
	Kind      Kind
	Pattern   string
	ProcessID string
	Worker    string
	Pid       int
	Epoch     uint64
	// Message says it for people, in one line.
	Message string
	// Facts are kind-specific: cause, source, notice_us, activate_us, ...
	Facts map[string]string
}

// Sink takes events. It must not block: it is called between decisions.
type Sink func(Event)
