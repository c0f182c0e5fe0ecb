// Package principal finds out which user is at the other end of a connection. It
// asks the kernel, and trusts nothing that the peer sends.
//
//	unix.go  peers on unix sockets, by SO_PEERCRED
//	tcp.go   peers on this machine's TCP, by the owner of their socket
package principal

import (
	"context"
	"fmt"
	"net"
)

// Principal is a user who calls.
type Principal struct {
	UID, GID uint32
	// Groups are the supplementary groups, where the kernel says: on unix
	// sockets. On TCP there is the UID alone.
	Groups []uint32
	// PID is that of the process that connected; 0 where it is not known, on
	// TCP. It may have ended since.
	PID int32
	// Complete says that GID and Groups are known.
	Complete bool
}

// String names the user as log lines and errors do.
func (p Principal) String() string { return fmt.Sprintf("user %d", p.UID) }

// Of returns who is at the other end of a connection of this machine. For
// *net.UnixConn that is who connected or, for a socketpair, who made it; for
// *net.TCPConn who made the peer's socket. Errors: the kernel's, and one where
// it does not know: the caller must then trust nobody.
func Of(c net.Conn) (Principal, error) {
	switch c := c.(type) {
	case *net.UnixConn:
		return ofUnix(c)
	case *net.TCPConn:
		return ofTCP(c)
	}
	return Principal{}, fmt.Errorf("nobody knows who is at the other end of a %T", c)
}

type key struct{}

// NewContext returns ctx with who calls.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, key{}, p)
}

// FromContext returns who calls. Not ok: the call does not come by the API.
func FromContext(ctx context.Context) (p Principal, ok bool) {
	p, ok = ctx.Value(key{}).(Principal)
	return p, ok
}
