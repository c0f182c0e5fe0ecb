// Package floor measures the least time in which a dead process's address can
// answer again on this machine: two bare processes, each with one thread and
// next to no memory, share a listening unix socket, and the second does
// nothing but wait for the death of the first. There is no supervisor, no
// protocol, no activation, no Go runtime in either of them (they are forks that
// make only raw system calls). Who is woken by what:
//
//	client --kill--> active:  wakes up and dies; the kernel closes its
//	                          descriptors, among them its end of a socket pair
//	active --hang-up--> standby: its poll on the other end of the pair returns;
//	                          it accepts a connection and writes one byte
//	standby --byte--> client: its read returns
//
// What differs between the kinds is only the client; see there.
package floor

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"time"

	"understudy/bench/internal/role"
)

// Role is the role under which a binary must be able to play Main.
const Role = "floor"

// Kind says what the client does.
type Kind string

const (
	// Fresh: the client connects right after its kill returned, so that the
	// connection is in the backlog when the standby comes to accept it.
	Fresh Kind = "fresh"
	// Held: the client has a connection to the active process, waits after
	// the kill until the kernel closes it, and connects then. It is what a
	// client with one long-lived connection cannot do better.
	Held Kind = "held"
	// Ended: as Held, but only until the kernel has closed that connection: what
	// such a client needs before it can do anything.
	Ended Kind = "ended"
)

// Measure takes n kills, and gives each time from just before the kill to the
// client's byte.
func Measure(ctx context.Context, kind Kind, n int, record func(time.Duration)) error {
	cmd := role.Command(ctx, Role, string(kind), strconv.Itoa(n))
	// One P: the client has the one goroutine, and no garbage.
	cmd.Env = append(cmd.Env, "GOMAXPROCS=1", "GOGC=off")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("floor: %w", err)
	}
	lines := bufio.NewScanner(out)
	got := 0
	for lines.Scan() {
		ns, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			continue // not ours; the count says whether one is missing
		}
		record(time.Duration(ns))
		got++
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("floor (%s): %w", kind, err)
	}
	if got != n {
		return fmt.Errorf("floor (%s): %d times instead of %d", kind, got, n)
	}
	return nil
}
