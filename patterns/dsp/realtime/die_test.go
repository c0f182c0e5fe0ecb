package realtime

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const faulty = "REALTIME_TEST_FAULTY"

func TestMain(m *testing.M) {
	if os.Getenv(faulty) != "" {
		if err := DieAtOnce(); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		var nothing *int
		*nothing = 1
	}
	os.Exit(m.Run())
}

// A fault ends the process by its signal, without a word of the Go runtime,
// which would say exit status 2 and why.
func TestDieAtOnce(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), faulty+"=1")
	said, err := cmd.CombinedOutput()
	require.Error(t, err)
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.True(t, status.Signaled(), "%v: %s", status, said)
	require.Equal(t, unix.SIGSEGV, status.Signal())
	require.Empty(t, said)
}
