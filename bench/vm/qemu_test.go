package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWatchSeesATextThatComesInPieces(t *testing.T) {
	n := 0
	w := &watch{text: "--- up:", then: func() { n++ }}
	for _, piece := range []string{"seabios\n-", "-- u", "p", ": 6.1\n", "--- up: again"} {
		got, err := w.Write([]byte(piece))
		require.NoError(t, err)
		require.Equal(t, len(piece), got)
	}
	require.Equal(t, 1, n)
}
