// Package role lets a benchmark start its own binary again as another process:
// the bare processes of the floor, the work that keeps the cores busy, the
// workers of other supervisors. A test binary can play them too, from TestMain.
package role

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// variable names the role in the environment of a process that has one. A
// manifest may set it: it does not begin with UNDERSTUDY_.
const variable = "BENCH_ROLE"

// Roles are the bodies of the processes that a binary can be, by name.
type Roles map[string]func() error

// Play is the first thing in main. In a process that was started for a role it
// does not return: the process ends with the role, with status 1 on an error.
func Play(roles Roles) {
	name := os.Getenv(variable)
	if name == "" {
		return
	}
	body, ok := roles[name]
	err := fmt.Errorf("this binary does not know the role")
	if ok {
		err = body()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Environment is what makes a process of this binary play a role, as
// "key=value".
func Environment(name string) string { return variable + "=" + name }

// Command returns this binary in a role, not started yet. It is killed at the
// end of ctx.
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), Environment(name))
	cmd.Stderr = os.Stderr
	return cmd
}

// AwaitEnd returns when whoever started this process closes its standard
// input, or is dead. A role that would go on for ever ends with it.
func AwaitEnd() { _, _ = io.Copy(io.Discard, os.Stdin) }
