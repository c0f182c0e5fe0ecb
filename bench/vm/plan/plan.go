// Package plan is what the host and the guest tell each other: the commands to
// run, and what became of them.
package plan

import "time"

// Where things lie in the guest.
const (
	File    = "/vm/plan.json"
	Modules = "/vm/modules"
	// Shell is a busybox, if there is one: it is told to install its links.
	Shell = "/bin/busybox"
	// Out is brought back to the host, as a tar on the Disk.
	Out     = "/out"
	Disk    = "/dev/vda"
	Results = "results.json" // in Out
)

// Up is the first that the guest says on its console.
const Up = "--- up:"

// DiskSize bounds what can be brought back.
const DiskSize = 1 << 30

// Plan is all that the guest is to do.
type Plan struct {
	Modules  []string // file names in Modules, in the order of loading
	Commands []Command
}

// Command is one program to run.
type Command struct {
	Name    string
	Args    []string // the first is the program's path
	Dir     string
	Timeout time.Duration
}

// Result is what became of a command. Its output is beside it, in <name>.log.
type Result struct {
	Name     string
	Status   string // "ok", or how it ended
	Duration time.Duration
	Strays   int // processes that it left behind, killed
}

// OK is the status of a command that exited with 0.
const OK = "ok"
