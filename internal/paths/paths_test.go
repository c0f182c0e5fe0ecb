package paths

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// env is an environment of these variables alone.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// own makes a directory that belongs to uid.
func own(t *testing.T, dir string, uid int) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	if uid != os.Geteuid() {
		if os.Geteuid() != 0 {
			t.Skip("only root can give a directory to somebody else")
		}
		require.NoError(t, os.Chown(dir, uid, uid))
	}
	return dir
}

func TestRuntimeDir(t *testing.T) {
	me := os.Geteuid()
	runUser := t.TempDir()
	xdg := own(t, filepath.Join(t.TempDir(), "xdg"), me)
	session := own(t, filepath.Join(runUser, strconv.Itoa(me)), me)
	elsewhere := "/run/understudy"
	if me != 0 {
		elsewhere = filepath.Join(session, "understudy")
	}
	for _, tt := range []struct {
		name, xdg, want string
	}{
		{"the user's own", xdg, filepath.Join(xdg, "understudy")},
		{"not absolute", "xdg", elsewhere},
		{"not there", xdg + "/none", elsewhere},
		{"not given", "", elsewhere},
	} {
		require.Equal(t, tt.want, runtimeDir(me, runUser, env("XDG_RUNTIME_DIR", tt.xdg)), tt.name)
	}
	require.Equal(t, "/tmp/understudy-4711", runtimeDir(4711, runUser, env()))
}

// su without a dash: what the environment names is another user's.
func TestRootDoesNotWorkInAUsersDirectory(t *testing.T) {
	dir := own(t, filepath.Join(t.TempDir(), "users"), 65534)
	require.Equal(t, "/run/understudy", runtimeDir(0, "/nowhere", env("XDG_RUNTIME_DIR", dir)))
	require.Equal(t, "/var/lib/understudy", stateDir(0, "", env("XDG_STATE_HOME", dir)))
	require.Equal(t, "/var/lib/understudy", stateDir(0, "", env("XDG_STATE_HOME", dir+"/not/yet")))
	require.Equal(t, dir+"/understudy", runtimeDir(65534, "/nowhere", env("XDG_RUNTIME_DIR", dir)))
	require.Equal(t, dir+"/not/yet/understudy", stateDir(65534, "", env("XDG_STATE_HOME", dir+"/not/yet")))
	require.Equal(t, dir+"/.local/state/understudy", stateDir(65534, "", env("HOME", dir)))
	require.Equal(t, "/r/state", stateDir(65533, "/r", env("HOME", dir)))
}

func TestAPISocketIsTheFirstThatIsThere(t *testing.T) {
	me := os.Geteuid()
	mine, roots := t.TempDir(), t.TempDir()
	listen := func(dir string) {
		l, err := net.Listen("unix", filepath.Join(dir, Socket))
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
	}
	require.Equal(t, filepath.Join(mine, Socket), apiSocket(me, mine, roots), "none is there: the user's own")
	require.NoError(t, os.WriteFile(filepath.Join(mine, Socket), nil, 0o600))
	listen(roots)
	require.Equal(t, filepath.Join(roots, Socket), apiSocket(me, mine, roots), "a file is no socket")
	require.NoError(t, os.Remove(filepath.Join(mine, Socket)))
	listen(mine)
	require.Equal(t, filepath.Join(mine, Socket), apiSocket(me, mine, roots))
	own(t, mine, 65534)
	require.Equal(t, filepath.Join(roots, Socket), apiSocket(me, mine, roots), "somebody else's directory")
}
