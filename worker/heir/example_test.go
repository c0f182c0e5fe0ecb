package heir_test

import (
	"fmt"
	"log/slog"
	"net"

	"understudy/worker/heir"
)

// A worker starts its heir, goes on without one if there can be none, and
// tracks the connections it accepts.
func Example() {
	h, err := heir.Start(nil) // or the eventfd the supervisor passed
	if err != nil {
		slog.Warn("the death of this worker will be noticed late", "error", err)
	}
	fmt.Println(err == nil, h.Pid() > 0)

	serve := func(c *net.TCPConn) error {
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) { h.Track(int(fd)) }); err != nil {
			return err
		}
		// ... and h.Untrack in Control before c.Close.
		return nil
	}
	_ = serve

	// Only a process that is about to call execve parts with its heir.
	fmt.Println(h.Stop())
	// Output:
	// true true
	// <nil>
}
