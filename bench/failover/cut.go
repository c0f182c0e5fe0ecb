package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/route"
)

const (
	// warmCalls come before each cut, as before each death (package outage).
	warmCalls = 20
	// cutSpread is how long a cut waits at most, evenly spread.
	cutSpread = 50 * time.Millisecond
)

// cuts records what an ordinary gRPC channel takes from the end of its
// connection to an answer when nobody dies and nobody has to take over: the
// client ends the connection itself, and the worker that answers was serving
// all the time. No supervisor can do better for such a client.
func (b *bench) cuts(ctx context.Context, r row, address string) (err error) {
	labels := r.labels("cut, no death")
	labels[1], labels[4], labels[5], labels[6] = "", "", "", ""
	times := b.report.Row(labels...)
	times.Floor = b.floors[r.load+floorName(r.client)]

	var now *net.UnixConn // the channel's connection; it has one at a time
	network, name := route.SplitAddress(address)
	if network != "unix" {
		return fmt.Errorf("cuts: %s is no unix socket", address)
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			var err error
			now, err = net.DialUnix(network, nil, &net.UnixAddr{Name: name, Net: network})
			return now, err
		}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, longest+time.Duration(b.n)*(cutSpread+10*time.Millisecond))
	defer cancel()
	for range b.n {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(rand.N(cutSpread)):
		}
		runtime.GC()
		for range warmCalls {
			if _, err := say(ctx, conn); err != nil {
				return err
			}
		}
		raw, err := now.SyscallConn() // a call was answered, so the dialer has returned
		if err != nil {
			return err
		}
		begun := time.Now()
		if failed := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_RDWR) }); failed != nil || err != nil {
			return errors.Join(failed, err)
		}
		for {
			if _, err := say(ctx, conn); err == nil {
				break
			} else if ctx.Err() != nil {
				return err
			}
			times.Failed++
		}
		times.Record(time.Since(begun))
	}
	return nil
}
