package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	// maxAnswer is the size of an answer: some thousand bindings.
	maxAnswer = 64 << 20
	// A daemon that vanished without a word is found after these.
	pingAfter   = 15 * time.Second
	pingTimeout = 5 * time.Second
)

// call connects, and runs f with the timeout while a progress line says what
// is waited for.
func (c *cli) call(ctx context.Context, what string, f func(context.Context, grpc.ClientConnInterface) error) error {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	done := c.progress(what)
	err := c.connected(ctx, f)
	done()
	return err
}

// stream connects, and runs f for as long as there is something to read. An
// interrupt is how a person ends it, and no error.
func (c *cli) stream(ctx context.Context, f func(context.Context, grpc.ClientConnInterface) error) error {
	err := c.connected(ctx, f)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (c *cli) connected(ctx context.Context, f func(context.Context, grpc.ClientConnInterface) error) error {
	conn, err := grpc.NewClient(c.addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // loopback, or a socket of our own
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}))
	if err != nil {
		return fmt.Errorf("address %q: %w", c.addr, err)
	}
	defer conn.Close()
	return c.explain(ctx, f(ctx, conn))
}

// overdue reports whether the daemon, which counts the time as well, saw it
// over just before us.
func overdue(ctx context.Context, code codes.Code) bool {
	end, limited := ctx.Deadline()
	return limited && time.Until(end) < 10*time.Millisecond && ctx.Err() == nil &&
		(code == codes.DeadlineExceeded || code == codes.Canceled)
}

// explain turns an error of gRPC into a line for people.
func (c *cli) explain(ctx context.Context, err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	text := st.Message()
	switch {
	case st.Code() == codes.Unavailable && strings.Contains(text, "while dialing"):
		reason := text[strings.LastIndex(text, ": ")+2:] // the last word is the kernel's
		return fmt.Errorf("no understudyd answers at %s: %s; --addr or %s name another address", c.addr, strings.Trim(reason, `"`), addrEnv)
	case errors.Is(ctx.Err(), context.DeadlineExceeded), overdue(ctx, st.Code()):
		return fmt.Errorf("no answer from %s within %v", c.addr, c.timeout)
	case errors.Is(ctx.Err(), context.Canceled):
		return errors.New("interrupted")
	}
	return errors.New(text)
}
