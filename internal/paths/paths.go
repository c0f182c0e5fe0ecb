// Package paths says where the supervisor's directories are by default, so that
// the daemon and its client look in the same place.
//
// A directory that the environment names counts only where it belongs to this
// user: `su` without a dash leaves the caller's XDG_RUNTIME_DIR to root, and
// the caller can put anything there.
package paths

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const (
	// Socket is the name of the API's socket in the runtime directory.
	Socket = "api.sock"
	// system is the runtime directory of root's daemon.
	system = "/run/understudy"
	name   = "understudy"
)

// RuntimeDir is the runtime directory of this user's daemon:
// $XDG_RUNTIME_DIR/understudy or /run/user/UID/understudy, where that is the
// user's, else /run/understudy for root and /tmp/understudy-UID for others.
func RuntimeDir() string { return runtimeDir(os.Geteuid(), "/run/user", os.Getenv) }

func runtimeDir(uid int, runUser string, env func(string) string) string {
	if dir := env("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && ownedBy(dir, uid) {
		return filepath.Join(dir, name)
	}
	if uid == 0 {
		return system
	}
	if dir := filepath.Join(runUser, strconv.Itoa(uid)); ownedBy(dir, uid) {
		return filepath.Join(dir, name)
	}
	return "/tmp/" + name + "-" + strconv.Itoa(uid)
}

// Instance is a short name of the supervisors of one runtime directory, of which
// there is one at a time.
func Instance(runtimeDir string) string {
	sum := sha256.Sum256([]byte(runtimeDir))
	return hex.EncodeToString(sum[:6])
}

// StateDir is where this user's daemon keeps what must outlive a reboot:
// $XDG_STATE_HOME/understudy, else /var/lib/understudy for root and
// ~/.local/state/understudy for others; without a home, below the runtime
// directory.
func StateDir(runtimeDir string) string { return stateDir(os.Geteuid(), runtimeDir, os.Getenv) }

func stateDir(uid int, runtimeDir string, env func(string) string) string {
	if dir := env("XDG_STATE_HOME"); filepath.IsAbs(dir) && belongs(dir, uid) {
		return filepath.Join(dir, name)
	}
	if uid == 0 {
		return "/var/lib/" + name
	}
	if home := env("HOME"); filepath.IsAbs(home) && belongs(home, uid) {
		return filepath.Join(home, ".local", "state", name)
	}
	return filepath.Join(runtimeDir, "state")
}

// APISocket is the socket that a client tries when it is told of none: that of
// this user's own daemon, or where there is none, that of root's. Sockets in
// directories of other users are passed over.
func APISocket() string { return apiSocket(os.Geteuid(), RuntimeDir(), system) }

func apiSocket(uid int, dirs ...string) string {
	for _, dir := range dirs {
		if !ownedBy(dir, uid) && !ownedBy(dir, 0) {
			continue
		}
		socket := filepath.Join(dir, Socket)
		if info, err := os.Lstat(socket); err == nil && info.Mode().Type() == fs.ModeSocket {
			return socket
		}
	}
	return filepath.Join(dirs[0], Socket)
}

// ownedBy reports whether dir is a directory, and uid's.
func ownedBy(dir string, uid int) bool {
	owner, ok := ownerOf(dir)
	return ok && owner == uid
}

// belongs is ownedBy for a directory that may still have to be made: the
// nearest one above it counts, which may also be root's.
func belongs(dir string, uid int) bool {
	if _, err := os.Lstat(dir); err == nil {
		return ownedBy(dir, uid)
	}
	for dir != "/" {
		dir = filepath.Dir(dir)
		if owner, ok := ownerOf(dir); ok {
			return owner == uid || owner == 0
		}
	}
	return false
}

func ownerOf(dir string) (uid int, ok bool) {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return 0, false
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), true
}
