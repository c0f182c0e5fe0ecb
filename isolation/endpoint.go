package isolation

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// endpoint is the stable address of a binding. Its listening socket is held
// here for as long as the binding lives, so connections queue in its backlog
// whenever no worker accepts.
type endpoint struct {
	network string // "unix" or "tcp"
	address string // path or host:port
	// socket is a bare descriptor: os.File.Fd would make the socket blocking,
	// here and in every worker that was passed it.
	socket int
}

// EndpointDir is where the sockets of listen: unix are, below the runtime
// directory.
const EndpointDir = "e"

// EndpointPath is where the unix endpoint of a process id is: a name of fixed
// length, safe for whatever the key holds.
func EndpointPath(runtimeDir, processID string) string {
	sum := sha256.Sum256([]byte(processID))
	name := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:16])[:26])
	return filepath.Join(runtimeDir, EndpointDir, name+".sock")
}

// openEndpoint makes the listening socket. again is the address of an earlier
// life of the binding, taken once more where that is possible.
func openEndpoint(network, runtimeDir, processID, again string) (*endpoint, error) {
	switch network {
	case "unix":
		path := EndpointPath(runtimeDir, processID)
		// What lies there is left from a supervisor that is gone: the lock on
		// the runtime directory says that no other one is running.
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("endpoint of %s: %w", processID, err)
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return nil, fmt.Errorf("endpoint of %s: %w", processID, err)
		}
		l.SetUnlinkOnClose(false)
		return hold(network, path, l)
	case "tcp":
		if again != "" {
			if l, err := net.Listen("tcp4", again); err == nil {
				return hold(network, again, l.(*net.TCPListener))
			}
		}
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("endpoint of %s: %w", processID, err)
		}
		return hold(network, l.Addr().String(), l.(*net.TCPListener))
	}
	return nil, fmt.Errorf("endpoint of %s: unknown network %q", processID, network)
}

// hold keeps the socket alone, without Go's listener around it.
func hold(network, address string, l interface {
	net.Listener
	syscall.Conn
}) (*endpoint, error) {
	defer l.Close()
	e := &endpoint{network: network, address: address}
	raw, err := l.SyscallConn()
	if err == nil {
		var dup error
		err = raw.Control(func(fd uintptr) { e.socket, dup = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
		err = errors.Join(err, dup)
	}
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", address, err)
	}
	return e, nil
}

// target is the address in gRPC's form.
func (e *endpoint) target() string {
	if e.network == "unix" {
		return "unix://" + e.address
	}
	return e.address
}

// close ends the address: whoever connects from now on is refused.
func (e *endpoint) close() {
	if e.socket < 0 {
		return // closed by a failure before
	}
	unix.Close(e.socket)
	e.socket = -1
	if e.network == "unix" {
		os.Remove(e.address)
	}
}
