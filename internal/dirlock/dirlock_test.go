package dirlock_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

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

// A directory or a lock file that another user has a hand in is refused, and
// nothing is changed by then.
func TestWhatIsNotOursIsRefused(t *testing.T) {
	const text = "what a user's own file says"
	own := func(t *testing.T, dir string) { require.NoError(t, os.Mkdir(dir, 0o700)) }
	mode := func(m os.FileMode) func(*testing.T, string, string) {
		return func(t *testing.T, dir, _ string) {
			own(t, dir)
			require.NoError(t, os.Chmod(dir, m))
		}
	}
	for _, tt := range []struct {
		name string
		make func(t *testing.T, dir, victim string)
		root bool // only root can make this
		want string
	}{
		{"another user's directory", func(t *testing.T, dir, _ string) {
			own(t, dir)
			require.NoError(t, os.Chown(dir, 65534, 65534))
		}, true, "dir belongs to user 65534, not to user 0: refused"},
		{"everybody may write", mode(0o777), false, "dir has mode 0777: others"},
		{"everybody may write, sticky", mode(0o777 | os.ModeSticky), false, "dir has mode 1777: others"},
		{"a group may write", mode(0o770), false, "dir has mode 0770: others"},
		{"a link to a directory", func(t *testing.T, dir, _ string) {
			own(t, dir+"2")
			require.NoError(t, os.Symlink(dir+"2", dir))
		}, false, "dir is a symbolic link"},
		{"a lock that is a link", func(t *testing.T, dir, victim string) {
			own(t, dir)
			require.NoError(t, os.Symlink(victim, dir+"/lock"))
		}, false, "dir/lock is a symbolic link: refused"},
		{"a lock that is a link to nothing", func(t *testing.T, dir, victim string) {
			own(t, dir)
			require.NoError(t, os.Symlink(victim+"2", dir+"/lock"))
		}, false, "dir/lock is a symbolic link: refused"},
		{"a lock that is another name of a file", func(t *testing.T, dir, victim string) {
			own(t, dir)
			require.NoError(t, os.Link(victim, dir+"/lock"))
		}, false, "dir/lock has 2 names"},
		{"a lock that is a fifo", func(t *testing.T, dir, _ string) {
			own(t, dir)
			require.NoError(t, unix.Mkfifo(dir+"/lock", 0o600))
		}, false, "dir/lock is not a regular file: refused"},
		{"another user's lock", func(t *testing.T, dir, _ string) {
			own(t, dir)
			require.NoError(t, os.WriteFile(dir+"/lock", nil, 0o666))
			require.NoError(t, os.Chown(dir+"/lock", 65534, 65534))
		}, true, "dir/lock belongs to user 65534, not to user 0: refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root && os.Geteuid() != 0 {
				t.Skip("only root can give files to another user")
			}
			top := t.TempDir()
			victim := filepath.Join(top, "victim")
			require.NoError(t, os.WriteFile(victim, []byte(text), 0o600))
			tt.make(t, filepath.Join(top, "dir"), victim)
			_, err := dirlock.Take(filepath.Join(top, "dir"), "lock")
			require.ErrorIs(t, err, dirlock.ErrUnsafe)
			require.ErrorContains(t, err, top+"/"+tt.want)
			said, err := os.ReadFile(victim)
			require.NoError(t, err)
			require.Equal(t, text, string(said))
			require.NoFileExists(t, victim+"2")
		})
	}
}

// Others may look in, as they must to reach the sockets: no more.
func TestOthersMayPass(t *testing.T) {
	for _, mode := range []os.FileMode{0o700, 0o711, 0o755, 0o750} {
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, mode))
		f, err := dirlock.Take(dir, "lock")
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
}

// What a holder that is gone wrote goes only when the lock is taken.
func TestTheFileSaysWhoHasIt(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "lock"), []byte("a longer line than ours\n"), 0o600))
	f, err := dirlock.Take(dir, "lock")
	require.NoError(t, err)
	defer f.Close()
	said, err := os.ReadFile(filepath.Join(dir, "lock"))
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintln(os.Getpid()), string(said))
}
