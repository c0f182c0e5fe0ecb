//go:build !faults

package fault

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The product cannot be made to fail, whatever its environment says.
func TestWithoutTheTagNothingFails(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(Variable, dir)
	for _, l := range All() {
		require.NoError(t, os.WriteFile(filepath.Join(dir, string(l)), []byte("5"), 0o600))
		require.Zero(t, At(l))
	}
	require.False(t, Enabled)
}
