// Package h2 has the few bytes of HTTP/2 that are written or looked for outside
// a library (RFC 9113).
package h2

const (
	// ClientPreface is what a client sends first (section 3.4).
	ClientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	// EmptySettings is a SETTINGS frame that sets nothing: the initial values
	// are in force (section 6.5).
	EmptySettings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

	// FrameHeader is the size of a frame's header: 3 bytes of length, the type,
	// the flags, 4 bytes of stream (section 4.1).
	FrameHeader = 9
	// Types of frames, and the flag of a SETTINGS frame that acknowledges one.
	Settings     = 4
	WindowUpdate = 8
	FlagAck      = 1
)
