package segment_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/shmregistry/segment"
)

// TestTheDocumentedReaderReads runs the Python of docs/PROTOCOL.md, "Segments",
// as it stands there.
func TestTheDocumentedReaderReads(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("python3 is not here: %v", err)
	}
	doc, err := os.ReadFile("../../docs/PROTOCOL.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(doc), "\n## Segments\n")
	require.True(t, found)
	_, code, found := strings.Cut(section, "```python\n")
	require.True(t, found)
	code, _, _ = strings.Cut(code, "```")

	path := filepath.Join(t.TempDir(), "segment")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, segment.Format(int(f.Fd()), 100))
	s := mustMap(t, int(f.Fd()))
	c, err := s.Cell(1, 5)
	require.NoError(t, err)
	for i := range 4 {
		copy(c.Next(), fmt.Sprintf("state%d", i)[1:])
		require.NoError(t, c.Commit())
		out, err := exec.Command(python, "-c", code+"\nimport sys\nprint(*read_cell(sys.argv[1]))", path).CombinedOutput()
		require.NoError(t, err, string(out))
		require.Equal(t, fmt.Sprintf("b'tate%d' %d\n", i, i+1), string(out))
	}
	require.NoError(t, os.Truncate(path, 4000))
	out, err := exec.Command(python, "-c", code+"\nimport sys\nread_cell(sys.argv[1])", path).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "is no segment of version 1")
}
