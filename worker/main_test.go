package worker_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or, where a test started this binary again, the
// worker that the test wants.
func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		if err := runLines(); err != nil {
			fmt.Fprintln(os.Stderr, "lines:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
