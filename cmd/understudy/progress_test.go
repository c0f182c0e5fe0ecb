package main

import (
	"bufio"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal (pty(7)).
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestProgressOnATerminal(t *testing.T) {
	master, slave := terminal(t)
	c := &cli{stderr: slave}
	done := c.progress("launching echo")
	r := bufio.NewReader(master)
	line, err := r.ReadString('s')
	require.NoError(t, err)
	require.Contains(t, line, "launching echo ... 0.")
	done()
	// The line is wiped at the end: what comes last goes back to its begin.
	fmt.Fprint(slave, "end\n")
	rest, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, rest, "\r\x1b[Kend")
}

func TestNoProgressWithoutATerminal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	c := &cli{stderr: file}
	c.progress("launching echo")()
	info, err := file.Stat()
	require.NoError(t, err)
	require.Zero(t, info.Size())
}
