package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/patterns/echo/echov1"
)

// prepare has the active worker ready to die of one system call.
func (d death) prepare(ctx context.Context, address string) error {
	if d == sigkill {
		return nil
	}
	// The Go runtime handles a SIGSEGV from outside, unless the worker has given it its default action.
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	_, err = echov1.NewEchoClient(conn).Crash(ctx, &echov1.CrashRequest{Way: echov1.CrashWay_CRASH_WAY_SIGSEGV, Prepare: true})
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("prepare %s: %w", d, err)
	}
	return nil
}

// signal is what is sent to the worker.
func (d death) signal() unix.Signal {
	if d == sigsegv {
		return unix.SIGSEGV
	}
	return unix.SIGKILL
}
