package ballast_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/patterns/internal/ballast"
)

func TestBallastIsResident(t *testing.T) {
	var b ballast.Ballast
	before := resident(t)
	require.NoError(t, b.RaiseTo(map[string]string{ballast.Key: "16"}))
	require.NoError(t, b.Raise(8), "less is no change")
	require.NoError(t, b.RaiseTo(nil))
	require.Greater(t, resident(t)-before, 15<<20)
	for _, bad := range []string{"", "-1", "x", "4294967296"} {
		require.ErrorContains(t, b.RaiseTo(map[string]string{ballast.Key: bad}), "config ballast_mb")
	}
}

// resident is the second number of proc_pid_statm(5), in bytes.
func resident(t *testing.T) int {
	statm, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	require.NoError(t, err)
	return pages * os.Getpagesize()
}
