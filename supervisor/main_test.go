package supervisor_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// burnEnv makes the test binary a process that does nothing but burn.
const burnEnv = "SUPERVISOR_TEST_BURN"

func TestMain(m *testing.M) {
	if os.Getenv(burnEnv) != "" {
		burn()
		os.Exit(0)
	}
	if os.Getenv(tallyEnv) != "" {
		if err := tally(); err != nil {
			fmt.Fprintln(os.Stderr, "tally:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(programsDir())
		os.Exit(code)
	}))
}

// programsDir is where this run's programs are built.
func programsDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("supervisor-test-%d", os.Getpid()))
}

// build builds the daemon and the echo pattern, once. Under the race detector
// the daemon is built with it too: a race shows in its exit code.
var build = sync.OnceValue(func() error {
	for pkg, flags := range map[string][]string{"understudy/cmd/understudyd": raceFlag(), "understudy/patterns/echo": nil} {
		args := append(append([]string{"build", "-tags", buildTags}, flags...), "-o", programsDir()+"/", pkg)
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
})

func raceFlag() []string {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return []string{"-race"}
		}
	}
	return nil
}

// program returns the path of a built program: understudyd or echo.
func program(t *testing.T, name string) string {
	t.Helper()
	require.NoError(t, build())
	return filepath.Join(programsDir(), name)
}
