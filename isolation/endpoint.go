package isolation

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"understudy/internal/deepqueue"
	"understudy/internal/fault"
	"understudy/internal/poll"
	"understudy/patterns"
)

// endpoint is the stable address of a binding. Its listening socket is held
// here for as long as the binding lives, so connections queue in its backlog
// whenever no worker accepts.
type endpoint struct {
	network string // "unix" or "tcp"
	address string // path or host:port
	spec    patterns.Endpoint
	// socket is a bare descriptor: os.File.Fd would make the socket blocking,
	// here and in every worker that was passed it. -1: closed.
	socket int
	inode  uint64 // of the path
	left   bool   // see leave
	// deep makes unix sockets with a long queue; nil: sockets are ordinary ones.
	deep *deepqueue.Namespace
	// backlog is how many connections may wait, and cut says that it is less
	// than was asked for.
	backlog int
	cut     bool
}

// EndpointDir is where the sockets of listen: unix are, below the runtime
// directory.
const EndpointDir = "e"

// defaultBacklog is for manifests that were not loaded.
const defaultBacklog = 65535

// EndpointPath is where the unix endpoint of a process id is: a name of fixed
// length, safe for whatever the key holds.
func EndpointPath(runtimeDir, processID string) string {
	sum := sha256.Sum256([]byte(processID))
	name := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:16])[:26])
	return filepath.Join(runtimeDir, EndpointDir, name+".sock")
}

// openEndpoint makes the listening socket. again is the address of an earlier
// life of the binding, taken once more where that is possible.
func openEndpoint(network, runtimeDir, processID, again string, spec patterns.Endpoint, deep *deepqueue.Namespace) (*endpoint, error) {
	e := &endpoint{network: network, address: again, spec: spec, socket: -1, deep: deep}
	if network == "unix" {
		e.address = EndpointPath(runtimeDir, processID)
	}
	err := e.bind()
	if network == "tcp" && again != "" && errors.Is(err, unix.EADDRINUSE) {
		e.address = ""
		err = e.bind()
	}
	if err == nil {
		err = e.listen()
	}
	if err != nil {
		e.close()
		return nil, fmt.Errorf("endpoint of %s: %w", processID, err)
	}
	return e, nil
}

// bind makes a socket at the address. Until listen, whoever connects is refused.
func (e *endpoint) bind() (err error) {
	switch e.network {
	case "unix":
		return e.bindUnix()
	case "tcp":
		at := netip.AddrPort{}
		if e.address != "" {
			if at, err = netip.ParseAddrPort(e.address); err != nil {
				return err
			}
		}
		return e.bindTCP(at)
	}
	return fmt.Errorf("unknown network %q", e.network)
}

// listen opens the address, or sets again what a worker can change for all who
// have the socket: the backlog and O_NONBLOCK.
func (e *endpoint) listen() error {
	backlog := e.spec.Backlog
	if backlog <= 0 {
		backlog = defaultBacklog
	}
	if err := fault.Do(fault.EndpointListen, func() error { return unix.Listen(e.socket, backlog) }); err != nil {
		return os.NewSyscallError("listen", err)
	}
	e.backlog = min(backlog, e.mostWaiting())
	e.cut = e.backlog < backlog
	return unix.SetNonblock(e.socket, true)
}

// mostWaiting is where the kernel cuts a backlog, without an error.
func (e *endpoint) mostWaiting() int {
	if e.network == "unix" && e.deep != nil {
		return e.deep.Limit()
	}
	most, err := deepqueue.Somaxconn()
	if err != nil {
		return math.MaxInt // nobody can tell
	}
	return most
}

// listens reports whether the socket does: who has a copy can shut it down.
func (e *endpoint) listens() bool {
	on, err := unix.GetsockoptInt(e.socket, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || on != 1 {
		return false
	}
	// A unix socket that was shut down says that it listens, and hangs up.
	ready, err := poll.Now(e.socket, unix.POLLRDHUP)
	return err == nil && ready&(unix.POLLHUP|unix.POLLRDHUP) == 0
}

// open makes the socket where there is none, and opens the address.
func (e *endpoint) open() error {
	if e.socket < 0 {
		if err := e.bind(); err != nil {
			e.end()
			return err
		}
	}
	return e.listen()
}

// renew puts another socket in the place of one that nobody can reach. Where that
// fails, the old one stays.
func (e *endpoint) renew() error {
	old := e.socket
	e.socket = -1
	err := e.open()
	if err != nil {
		e.end()
		e.socket = old
		return err
	}
	unix.Close(old)
	return nil
}

// target is the address in gRPC's form.
func (e *endpoint) target() string {
	if e.network == "unix" {
		return "unix://" + e.address
	}
	return e.address
}

// shut refuses clients from now on, whoever has copies of the socket, and keeps
// the address.
func (e *endpoint) shut() error {
	if e.socket >= 0 && e.network == "unix" { // it stays at its path, and refuses from there
		if err := unix.Shutdown(e.socket, unix.SHUT_RDWR); err != nil {
			return os.NewSyscallError("shutdown", err)
		}
		e.dismiss()
		return nil
	}
	e.end()
	return e.bind()
}

// end takes the socket from all who have copies of it.
func (e *endpoint) end() {
	if e.socket >= 0 {
		_ = unix.Shutdown(e.socket, unix.SHUT_RDWR)
		unix.Close(e.socket)
		e.socket = -1
	}
}

// close ends the address: whoever connects from now on is refused.
func (e *endpoint) close() {
	if e.socket < 0 {
		return // closed by a failure before
	}
	if e.network == "unix" {
		e.unlink()
	}
	e.end()
}

// leave gives up our copy of the socket, and takes the path away. The last worker
// that has a copy takes in who is connected already, and closes it when it drains.
func (e *endpoint) leave() {
	if e.socket < 0 {
		return
	}
	if e.network == "unix" {
		e.unlink()
	}
	unix.Close(e.socket)
	e.socket, e.left = -1, true
}

// release ends the address and returns the socket of a TCP endpoint, which is
// bound still and refuses connections; -1 where there is none.
func (e *endpoint) release() int {
	if e.left && e.network == "tcp" {
		if at, err := netip.ParseAddrPort(e.address); err == nil {
			if socket, err := boundTCP(at, true); err == nil {
				return socket
			}
		}
	}
	if e.network != "tcp" || e.socket < 0 {
		e.close()
		return -1
	}
	socket := e.socket
	e.socket = -1
	_ = unix.Shutdown(socket, unix.SHUT_RDWR)
	return socket
}
