package version

import (
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatABuildNotes(t *testing.T) {
	vcs := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: modified}}
	}
	for want, b := range map[string]debug.BuildInfo{
		"(devel)":                      {},
		"v1.2.3":                       {Main: debug.Module{Version: "v1.2.3"}},
		"v1.2.3 (revision abc)":        {Main: debug.Module{Version: "v1.2.3"}, Settings: vcs("false")},
		"(devel) (revision abc+dirty)": {Settings: vcs("true")},
	} {
		require.Equal(t, want, from(&b).String())
	}
}

// What `make build` builds in a clone can be told from what it built yesterday.
func TestMakeBuildNotesTheRevision(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	head, err := exec.Command("git", "-C", root, "rev-parse", "HEAD").Output()
	if err != nil {
		t.Skipf("this is no git clone: %v", err)
	}
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip(err)
	}
	bin := t.TempDir()
	make := exec.Command("make", "-C", root, "build", "PROGRAMS=", "BIN="+bin+"/")
	out, err := make.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, name := range []string{"understudyd", "understudy"} {
		out, err := exec.Command(filepath.Join(bin, name), "--version").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), name+" version ")
		require.Contains(t, string(out), "(revision "+strings.TrimSpace(string(head)), "%s", out)
	}
}
