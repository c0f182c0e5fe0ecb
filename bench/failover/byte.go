package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// byteClient does what the floor's client does, on a bare socket: it connects and waits for the first byte. A gRPC
// server sends one (its HTTP/2 settings) as soon as it has accepted. The kernel says who wrote it (unix(7),
// "SO_PASSCRED").
type byteClient struct{ address unix.Sockaddr }

func newByteClient(address string) (*byteClient, error) {
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return nil, fmt.Errorf("client %s: %s is no unix socket", firstByte, address)
	}
	return &byteClient{&unix.SockaddrUnix{Name: path}}, nil
}

func (c *byteClient) Ask(context.Context) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return 0, fmt.Errorf("SO_PASSCRED: %w", err)
	}
	limit := unix.NsecToTimeval(int64(longest))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return 0, fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	if err := unix.Connect(fd, c.address); err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, oobn := 0, 0
	for {
		n, oobn, _, _, err = unix.Recvmsg(fd, b[:], oob, 0)
		if !errors.Is(err, unix.EINTR) { // a signal of the Go runtime (signal(7): SO_RCVTIMEO)
			break
		}
	}
	if err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	if n == 0 {
		return 0, errors.New("the connection ends without a byte")
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err == nil && len(messages) != 1 {
		err = fmt.Errorf("%d control messages", len(messages))
	}
	if err != nil {
		return 0, fmt.Errorf("who wrote the byte: %w", err)
	}
	cred, err := unix.ParseUnixCredentials(&messages[0])
	if err != nil {
		return 0, fmt.Errorf("credentials: %w", err)
	}
	return int(cred.Pid), nil
}

func (*byteClient) Close() error { return nil }
