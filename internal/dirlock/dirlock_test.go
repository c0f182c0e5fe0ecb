package dirlock_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/internal/dirlock"
)

func TestOneAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, err := dirlock.Take(dir, "lock")
	require.NoError(t, err)
	_, err = dirlock.Take(dir, "lock") // a lock belongs to the open file, not to the process
	require.ErrorIs(t, err, dirlock.ErrLocked)
	require.ErrorContains(t, err, fmt.Sprintf("%s: in use by another supervisor (pid %d)", dir, os.Getpid()))
	other, err := dirlock.Take(dir, "other")
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, first.Close())
	again, err := dirlock.Take(dir, "lock")
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

func TestNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := dirlock.Take(filepath.Join(file, "dir"), "lock")
	require.ErrorContains(t, err, file)
}
