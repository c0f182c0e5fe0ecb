package sentinel

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childMode is the variable by which this test binary, started again, becomes
// a process to watch; its value is one of childModes.
const childMode = "SENTINEL_TEST_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		childModes[mode]()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
