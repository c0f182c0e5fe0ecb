// Package pace is the one home of what is done, and of what is left undone, to
// keep the first milliseconds after a death clear for the standby and its
// clients: the delays, and a switch for each trick. docs/PACE.md says what each
// one gives and costs.
//
// Every switch is on unless it is turned off: by `pace:` in the configuration,
// which reaches the sentinel process and the workers in the environment
// variable UNDERSTUDY_PACE. To find out whether a trick is to blame for
// something, turn it off; to be rid of one, delete its package or file and its
// line here.
package pace

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Breather is how long after a failover what can wait does: reports, the word
// that a worker is active, the next plan. The first answers of a standby take
// one to two milliseconds, and whoever is woken by a report would work on the
// same processors meanwhile.
const Breather = 2 * time.Millisecond

// Refill is how long after an activation a pool is refilled. Starting a process
// takes some ten milliseconds of a core.
const Refill = 25 * time.Millisecond

// Reap is how long after a death its process is reaped.
const Reap = 5 * time.Millisecond

// Patience is how long a dying worker's memory and core dump may be held up by
// all that others want to do. Then they get an ordinary share, or the least.
const Patience = 100 * time.Millisecond

// Variable is the environment variable in which processes are told what is off:
// names, with commas between them.
const Variable = "UNDERSTUDY_PACE"

// The switches, by the names they have in the configuration.
const (
	// ReportDelay: the engine reports a failover after Breather, not at once;
	// a worker that takes over says so after Breather; the next plan is armed
	// after Breather.
	ReportDelay = "report_delay"
	// QuietFence: nothing wakes for the notice "fenced" after "doomed".
	QuietFence = "quiet_fence"
	// ExitMute: the supervisor's own reaper does not wake for the death of an
	// active worker before the engine has reported it.
	ExitMute = "exit_mute"
	// ChildSignal: SIGCHLD has its default action in the daemon.
	ChildSignal = "child_signal"
	// Demote: a dying worker loses its scheduling priority.
	Demote = "demote"
	// DumpGate: a core dump is held back at the opening of its file.
	DumpGate = "dump_gate"
	// MonitorSleep: the scheduler's monitor of the sentinel process sleeps.
	MonitorSleep = "monitor_sleep"
	// DeepStacks: goroutines of a standby begin with larger stacks.
	DeepStacks = "deep_stacks"
	// PopulateHeap: the pages that a standby's heap grows into are there.
	PopulateHeap = "populate_heap"
	// FastParser: an activation is read without protojson.
	FastParser = "fast_parser"
	// Greeter: a gRPC server sends its settings when a connection is accepted.
	Greeter = "greeter"
)

// All returns the names of every switch.
func All() []string {
	return []string{ReportDelay, QuietFence, ExitMute, ChildSignal, Demote, DumpGate, MonitorSleep,
		DeepStacks, PopulateHeap, FastParser, Greeter}
}

// Switches says which tricks are off. The zero value has all of them on.
type Switches struct{ off []string }

// Off returns switches with the named ones off. Error: a name that is none.
func Off(names ...string) (Switches, error) {
	var s Switches
	for _, name := range names {
		switch {
		case !slices.Contains(All(), name):
			return Switches{}, fmt.Errorf("pace: %q is none of %s", name, strings.Join(All(), ", "))
		case !slices.Contains(s.off, name):
			s.off = append(s.off, name)
		}
	}
	slices.Sort(s.off)
	return s, nil
}

// On reports whether a trick is on.
func (s Switches) On(name string) bool { return !slices.Contains(s.off, name) }

// String is the value of Variable: what is off.
func (s Switches) String() string { return strings.Join(s.off, ",") }

// FromEnvironment returns what the supervisor told this process. Names that it
// does not know are passed over: they are another version's.
func FromEnvironment() Switches {
	var s Switches
	for name := range strings.SplitSeq(os.Getenv(Variable), ",") {
		if slices.Contains(All(), name) {
			s.off = append(s.off, name)
		}
	}
	return s
}
