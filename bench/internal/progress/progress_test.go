package progress

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLineOnATerminal(t *testing.T) {
	var b bytes.Buffer
	l := &Line{w: &b, terminal: true, begun: time.Now().Add(-time.Minute), total: 4}
	l.Part("row %d", 1)
	l.Add(1, "%d of %d", 5, 20)
	require.Equal(t, "\r\x1b[Krow 1  5 of 20  (25 %, about 3m0s left)", b.String())
	b.Reset()
	l.Add(1, "too soon")
	require.Empty(t, b.String())
	l.Print("stays")
	require.Equal(t, "\r\x1b[Kstays\n", b.String())
}

func TestLineElsewhere(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	l := New(w, 2)
	l.Part("row %d", 1)
	l.Add(1, "not shown")
	l.Part("row %d", 2)
	l.Clear()
	require.NoError(t, w.Close())
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	require.NoError(t, err)
	require.Equal(t, "row 1  (0 %)\nrow 2  (50 %, about 0s left)\n", b.String())
}
