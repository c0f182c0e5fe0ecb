package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The death of a child wakes nobody in the daemon: the kernel drops a SIGCHLD
// that is not caught. TestReadyThenStopped and others show that children are
// reaped all the same. The switch child_signal turns that off.
func TestDeathsOfChildrenAreNotCaught(t *testing.T) {
	for _, c := range []struct {
		args   []string
		caught uint64
	}{{nil, 0}, {[]string{"--pace-off", "child_signal"}, 1}} {
		d := start(t, home(t), c.args...)
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
		require.NoError(t, err)
		_, after, ok := strings.Cut(string(b), "SigCgt:")
		require.True(t, ok)
		caught, err := strconv.ParseUint(strings.Fields(after)[0], 16, 64)
		require.NoError(t, err)
		require.Equal(t, c.caught, caught>>(unix.SIGCHLD-1)&1, "%v", c.args)
		require.NotZero(t, caught>>(unix.SIGTERM-1)&1, "that one is")
		d.stop(t, unix.SIGTERM)
	}
}
