#!/bin/sh
# A grpc-go channel whose new connection ends before the server's first settings
# frame waits for about a second before it connects again, however soon the
# address answers; one whose connection ends just after the settings connects
# again at once. So a server that dies right after accept() costs its clients a
# second, though another process accepts at the same address all the time, and
# though the channel's calls wait for a connection (WaitForReady).
#
# Seen with google.golang.org/grpc v1.85.0, a new channel's time to the first answer (ms):
#	the first connection is closed 50 ms after the settings: 56
#	the first connection is closed before the settings: 1002
#
# For Understudy: docs/PROTOCOL.md, "activate"; `greeter` in docs/PACE.md sends
# the settings when it accepts.
dir=$(mktemp -d)
. "$(dirname "$0")/lib"
need go
cd "$dir"
cat >go.mod <<MOD
module finding

go 1.25
MOD
cat >main.go <<'GO'
// The server closes the first connection that it accepts, and then serves.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	pb "google.golang.org/grpc/health/grpc_health_v1"
)

type listener struct {
	net.Listener
	first func(net.Conn)
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil && l.first != nil {
		first := l.first
		l.first = nil
		first(c)
		c.Close()
		return l.Listener.Accept()
	}
	return c, err
}

func call(first func(net.Conn)) time.Duration {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s := grpc.NewServer()
	pb.RegisterHealthServer(s, health.NewServer())
	go s.Serve(&listener{l, first})
	defer s.Stop()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	begun := time.Now()
	for { // until an answer comes
		_, err := pb.NewHealthClient(conn).Check(context.Background(), &pb.HealthCheckRequest{}, grpc.WaitForReady(true))
		if err == nil {
			break
		}
	}
	return time.Since(begun)
}

func main() {
	call(nil) // what is slow once
	settings := []byte{0, 0, 0, 4, 0, 0, 0, 0, 0} // an empty SETTINGS frame (RFC 9113, 6.5)
	after := call(func(c net.Conn) {
		c.Write(settings)
		time.Sleep(50 * time.Millisecond) // the client reads it
	})
	before := call(func(net.Conn) {})
	fmt.Println("the first connection is closed 50 ms after the settings:", after.Milliseconds())
	fmt.Println("the first connection is closed before the settings:", before.Milliseconds())
	if after > 400*time.Millisecond || before < 700*time.Millisecond {
		os.Exit(1)
	}
}
GO
go get google.golang.org/grpc@v1.85.0 >get.log 2>&1 && go mod tidy >>get.log 2>&1 && go build -o finding . >>get.log 2>&1 || cannot "$(tail -1 get.log)"
./finding || changed "the times are others"
holds "a grpc-go channel waits about a second after a connection that ended before the settings"
