package atomicfile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mark")
	require.NoError(t, os.WriteFile(path+".new", []byte("what a kill left, and longer"), 0o600))
	for _, text := range []string{"first", "second, longer", "3"} {
		require.NoError(t, Replace(path, []byte(text), Labels{}))
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(b))
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}

// A step that fails leaves the old file, and nothing beside it.
func TestWhatCannotBeReplacedStays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mark")
	require.NoError(t, os.MkdirAll(filepath.Join(path, "in it"), 0o700)) // nobody renames over that
	require.Error(t, Replace(path, []byte("new"), Labels{}))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Error(t, Replace(filepath.Join(dir, "nowhere", "mark"), []byte("new"), Labels{}))
}
