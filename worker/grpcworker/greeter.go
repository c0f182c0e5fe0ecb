package grpcworker

import (
	"net"

	"understudy/internal/h2"
)

// greeter sends a gRPC server's settings when a connection is accepted. A client
// sends no call before it has read them, and Go's server sends them only at the
// end of its own preparations. So client and server prepare at the same time.
//
// The settings are an empty frame, which stands for the initial values. What the
// server sends later is a change of settings (RFC 9113, 3.4 and 6.5). Go's server
// ignores the second acknowledgement.
//
// To be rid of it, delete this file, its test and its line in serve.
type greeter struct{ net.Listener }

// Accept does not wait for the client to read: a new socket has room.
func (g greeter) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err == nil {
		_, _ = c.Write([]byte(h2.EmptySettings)) // if this fails, so does what the server writes
	}
	return c, err
}
