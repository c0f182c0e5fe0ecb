package grpcworker

import "net"

// greeter has every connection greeted when it is accepted. A gRPC client sends
// no call before it has heard the server's settings, and the gRPC server says
// them at the end of its own preparations; so these and the client's are made
// at the same time. The greeting is an empty frame, which stands for the initial
// values; what the server says later is a change of settings (RFC 9113, 3.4 and
// 6.5). Go's server takes the second acknowledgement for nothing.
type greeter struct{ net.Listener }

const noSettings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// Accept does not wait for the client to read: a new socket has room.
func (g greeter) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err == nil {
		_, _ = c.Write([]byte(noSettings)) // if this fails, so does what the server writes
	}
	return c, err
}
