package supervisor_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/isolation"
	"understudy/sentinel"
	"understudy/supervisor/config"
)

// Package config repeats what other packages define, since it links none of
// them. These tests keep the two alike.

// The bound on the runtime directory is the one that the endpoints' names need.
func TestLongestRuntimeDirLeavesRoomForEndpoints(t *testing.T) {
	dir := "/" + strings.Repeat("x", config.MaxRuntimeDir-1)
	require.Len(t, isolation.EndpointPath(dir, "ns:a:echo"), 107)
}

func TestConfigKnowsTheLevels(t *testing.T) {
	var names []string
	for l := isolation.LevelNone; l <= isolation.LevelSession; l++ {
		names = append(names, l.String())
	}
	require.Equal(t, names, config.Levels())
}

func TestConfigKnowsTheDeathSources(t *testing.T) {
	for i, name := range config.Sources() {
		s, err := sentinel.ParseSource(name)
		require.NoError(t, err)
		require.EqualValues(t, i, s)
	}
	_, err := sentinel.ParseSource(sentinel.Source(len(config.Sources())).String())
	require.Error(t, err, "there is a source that config does not know")
}
