package keepmemory

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSetAndBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page_reporting_order")
	require.NoError(t, os.WriteFile(file, []byte("9\n"), 0o600))
	back, err := set(file, 11)
	require.NoError(t, err)
	requireContent(t, file, "11")
	require.NoError(t, back())
	requireContent(t, file, "9")

	back, err = set(file, 11)
	require.NoError(t, err)
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.Mkdir(file, 0o700))
	require.ErrorContains(t, back(), "is left stopped, write 9 again: open "+file)
}

func TestOrderThatTheKernelDoesNotTake(t *testing.T) {
	_, err := set(filepath.Join(t.TempDir(), "nowhere"), 11)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "the hypervisor can turn it off")
}

func requireContent(t *testing.T, file, want string) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, want, string(b))
}
