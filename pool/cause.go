package pool

import (
	"fmt"

	"understudy/sentinel"
)

// CauseKind says, for programs, why a worker ended. It is apart from the Step
// of a start: any cause can end a worker at any step.
type CauseKind string

// The kinds of causes.
const (
	// CauseExit: it ended by itself, or somebody else killed it.
	CauseExit CauseKind = "exit"
	// CauseStopped: it was asked to stop, and did.
	CauseStopped CauseKind = "stopped"
	// CauseGrace: it was asked to stop, did not in its grace period, and was
	// killed.
	CauseGrace CauseKind = "grace_exceeded"
	// CauseForced: it was to be killed at once.
	CauseForced CauseKind = "forced"
	// CauseSpawn: there was no process, or it could not be watched.
	CauseSpawn CauseKind = "spawn"
	// CauseStartTimeout: it was not a standby in time.
	CauseStartTimeout CauseKind = "start_timeout"
	// CauseProtocol: it broke the control protocol.
	CauseProtocol CauseKind = "protocol"
	// CauseFatal: it said that it gives up.
	CauseFatal CauseKind = "gave_up"
	// CauseHung: it did not answer its probes.
	CauseHung CauseKind = "hung"
	// CauseUnhealthy: its canary failed.
	CauseUnhealthy CauseKind = "unhealthy"
	// CauseFlood: it sent more messages than it may.
	CauseFlood CauseKind = "flood"
	// CauseNotServing: it was activated and did not accept in time.
	CauseNotServing CauseKind = "not_serving"
	// CauseLost: its activation could not be sent, or it could not be watched by
	// the engine.
	CauseLost CauseKind = "lost"
	// CauseConflict: it was activated for a binding that has another worker, or
	// has ended.
	CauseConflict CauseKind = "conflict"
	// CauseLie: it claimed to serve what is not its own.
	CauseLie CauseKind = "false_claim"
)

// Cause says why a worker ended: why it was killed, where that was the
// supervisor's doing, and how the process ended.
type Cause struct {
	Kind CauseKind
	// Err says why in words, nil where Status says it all.
	Err error
	// Status is how the process ended, nil where it never ran or still does.
	Status *sentinel.Status
}

// String says it for people, such as "no answer to a probe within 2s (killed by
// SIGKILL)".
func (c Cause) String() string {
	switch {
	case c.Err != nil && c.Status != nil:
		return fmt.Sprintf("%v (%s)", c.Err, c.Status)
	case c.Err != nil:
		return c.Err.Error()
	case c.Status != nil:
		return c.Status.String()
	}
	return string(c.Kind)
}
