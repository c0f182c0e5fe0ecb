package leak

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestParseSystemV(t *testing.T) {
	const head = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n"
	got, err := parseSystemV(head + "         0      32769   600                  4096   123   124      2     0     0     0     0          0          0 1700000000                  4096                     0\n")
	require.NoError(t, err)
	require.Equal(t, []segmentV{{id: 32769, creator: 123, size: 4096, attached: 2, changed: 1700000000}}, got)
	got, err = parseSystemV(head)
	require.NoError(t, err)
	require.Empty(t, got)
	for _, bad := range []string{"", "key shmid\n", head + "1 2 3\n"} {
		_, err := parseSystemV(bad)
		require.ErrorContains(t, err, "/proc/sysvipc/shm")
	}
}

func TestMapsLine(t *testing.T) {
	for line, want := range map[string]inode{
		"7ff694dce000-7ff694dd0000 rw-s 00000000 00:1b 2                          /dev/shm/some name": {unix.Mkdev(0, 0x1b), 2},
		"7ff694dce000-7ff694dd0000 rw-s 00000000 fd:a0 4294967297 /dev/shm/x (deleted)":               {unix.Mkdev(0xfd, 0xa0), 4294967297},
		"7ff694dce000-7ff694dd0000 rw-p 00000000 00:00 0 ":                                            {},
		"7ff694dce000-7ff694dd0000 rw-p 00000000 zz:00 0 /x":                                          {},
		"": {},
	} {
		got, ok := mapped(line)
		require.Equal(t, want, got, line)
		require.Equal(t, want != inode{}, ok, line)
	}
}

// What the kernel writes is never torn; a parser of bytes still must not run
// out of them.
func FuzzEvents(f *testing.F) {
	e := make([]byte, 24+36)
	binary.NativeEndian.PutUint32(e, uint32(len(e)))
	e[4] = unix.FANOTIFY_METADATA_VERSION
	binary.NativeEndian.PutUint16(e[6:], 24)
	binary.NativeEndian.PutUint64(e[8:], unix.FAN_CREATE)
	binary.NativeEndian.PutUint32(e[20:], 77)
	e[24] = unix.FAN_EVENT_INFO_TYPE_DFID_NAME
	binary.NativeEndian.PutUint16(e[26:], 36)
	binary.NativeEndian.PutUint32(e[36:], 12)
	copy(e[56:], "seg")
	f.Add(e)
	got, err := parseFanotify(e)
	require.NoError(f, err)
	require.Equal(f, []notice{{name: "seg", pid: 77, made: true}}, got)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseFanotify(b)
		_, _ = parseInotify(b)
	})
}
