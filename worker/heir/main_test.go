//go:build linux && (amd64 || arm64)

package heir

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or, where a test started this binary again, the
// worker that the test wants.
func TestMain(m *testing.M) {
	if spec := os.Getenv(specEnv); spec != "" {
		if err := runWorker(spec); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
