package pool

import (
	"fmt"
	"strings"
)

// Step names the part of a worker's start that failed.
type Step string

// The steps of a start, in their order.
const (
	StepSpawn     Step = "spawn"
	StepHandshake Step = "handshake"
	StepProbe     Step = "probe"
	StepActivate  Step = "activate"
)

// StartError says why a worker did not become a standby or, at StepActivate,
// why a standby did not become active.
type StartError struct {
	Pattern string
	// Worker is the worker's name, such as "echo-7".
	Worker string
	Step   Step
	// Status is how the process ended, such as "exited with code 3"; "" where
	// it had to be killed or never ran.
	Status string
	// Output is the last lines that the worker wrote.
	Output []string
	Err    error
}

func (e *StartError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pattern %s: worker %s failed at %s: %v", e.Pattern, e.Worker, e.Step, e.Err)
	if e.Status != "" {
		fmt.Fprintf(&b, " (%s)", e.Status)
	}
	if len(e.Output) > 0 {
		fmt.Fprintf(&b, "; last output: %s", strings.Join(e.Output, " | "))
	}
	return b.String()
}

func (e *StartError) Unwrap() error { return e.Err }
