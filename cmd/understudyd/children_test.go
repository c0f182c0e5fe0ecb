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
// reaped all the same.
func TestDeathsOfChildrenAreNotCaught(t *testing.T) {
	d := start(t, home(t))
	defer d.stop(t, unix.SIGTERM)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	require.NoError(t, err)
	_, after, ok := strings.Cut(string(b), "SigCgt:")
	require.True(t, ok)
	caught, err := strconv.ParseUint(strings.Fields(after)[0], 16, 64)
	require.NoError(t, err)
	require.Zero(t, caught>>(unix.SIGCHLD-1)&1)
	require.NotZero(t, caught>>(unix.SIGTERM-1)&1, "that one is")
}
