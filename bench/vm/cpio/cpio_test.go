package cpio

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArchive(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	w.Dir("/dev", 0o755)
	w.Device("dev/console", 0o600, 5, 1)
	w.File("init", 0o755, 5, strings.NewReader("hello"))
	require.NoError(t, w.Close())
	zero := strings.Repeat("0", 8)
	require.Equal(t, ""+
		// name's length with its NUL: 4; header and name are 114 bytes, padded to 116
		"070701"+"00000001"+"000041ed"+zero+zero+"00000001"+zero+zero+zero+zero+zero+zero+"00000004"+zero+"dev\x00\x00\x00"+
		"070701"+"00000002"+"00002180"+zero+zero+"00000001"+zero+zero+zero+zero+"00000005"+"00000001"+"0000000c"+zero+"dev/console\x00\x00\x00"+
		"070701"+"00000003"+"000081ed"+zero+zero+"00000001"+zero+"00000005"+zero+zero+zero+zero+"00000005"+zero+"init\x00\x00"+"hello\x00\x00\x00"+
		"070701"+"00000004"+zero+zero+zero+"00000001"+zero+zero+zero+zero+zero+zero+"0000000b"+zero+"TRAILER!!!\x00\x00\x00\x00",
		b.String())
}

func TestTheFirstErrorStays(t *testing.T) {
	w := NewWriter(io.Discard)
	w.File("short", 0o644, 5, strings.NewReader("four"))
	w.Dir("after", 0o755)
	require.ErrorIs(t, w.Close(), io.ErrUnexpectedEOF)

	broken := errors.New("broken")
	pipe, closed := io.Pipe()
	require.NoError(t, pipe.CloseWithError(broken))
	w = NewWriter(closed)
	w.Dir("dev", 0o755)
	require.ErrorIs(t, w.Close(), broken)

	w = NewWriter(io.Discard)
	w.File("large", 0o644, 1<<32, nil)
	require.ErrorContains(t, w.Close(), "more than the format can tell")
}
