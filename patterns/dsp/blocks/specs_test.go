package blocks_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/patterns"
	"understudy/patterns/dsp/blocks"
	"understudy/shmregistry/segment"
)

func TestTheManifestDeclaresTheSegments(t *testing.T) {
	manifest, err := os.ReadFile("../manifest.yaml")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "dsp")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "manifest.yaml"), manifest, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dsp"), nil, 0o755))
	m, err := patterns.Load(filepath.Join(dir, "manifest.yaml"))
	require.NoError(t, err)
	require.Equal(t, blocks.Specs(), m.Segments)
}

func TestOtherSegmentsAreRefused(t *testing.T) {
	_, err := blocks.Of(nil)
	require.ErrorIs(t, err, blocks.ErrSegments)
	require.ErrorContains(t, err, "input is missing")
	path := filepath.Join(t.TempDir(), "small")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, segment.Format(int(f.Fd()), 4096))
	s, err := segment.Open(path)
	require.NoError(t, err)
	defer s.Close()
	_, err = blocks.Of(map[string]*segment.Segment{blocks.Input: s})
	require.ErrorContains(t, err, "input has 4096 bytes, expected 131136")
}
