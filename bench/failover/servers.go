package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"

	"google.golang.org/grpc"

	"understudy/bench/internal/outage"
	"understudy/bench/internal/role"
	"understudy/patterns/echo/echov1"
)

// serversRole is the role of one of the two servers below.
const serversRole = "grpc server"

// What a server is given.
const (
	fdListener    = 3
	fdPredecessor = 4 // a pipe that ends when the predecessor does
	fdHeld        = 5 // the other end of the successor's pipe
)

// measureServers is the floor for clients that make gRPC calls: as the floor,
// two processes have one listening socket, and the second does nothing but wait
// for the death of the first, but they are gRPC servers in Go, and the second
// has answered calls before, elsewhere. Nothing else is between the kill and
// the answer: no supervisor, no protocol, no memory to free.
func measureServers(ctx context.Context, dir, kind string, n int, record func(time.Duration)) (err error) {
	path := dir + "/servers"
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	defer l.Close()
	socket, err := l.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	c, err := newClient(ctx, kind, where{address: "unix:" + path})
	if err != nil {
		return err
	}
	defer c.Close()

	end, held, err := os.Pipe()
	if err != nil {
		return err
	}
	held.Close() // the first has no predecessor
	active, end, err := startServer(ctx, socket, end)
	if err != nil {
		return err
	}
	defer func() { endServer(active); end.Close() }()
	for range n {
		standby, next, err := startServer(ctx, socket, end)
		if err != nil {
			return err
		}
		dying := active
		active, end = standby, next
		o, err := outage.Measure(ctx, c, outage.Between, longest, func(pid int) error {
			if pid != dying.Process.Pid {
				return fmt.Errorf("the answer comes from it, not from %d", dying.Process.Pid)
			}
			return dying.Process.Kill()
		})
		endServer(dying)
		if err != nil {
			return err
		}
		record(o.Gap())
	}
	return nil
}

// startServer starts one server and waits until it is warm. It closes end,
// which is the server's, and returns what its successor will wait for.
func startServer(ctx context.Context, socket, end *os.File) (*exec.Cmd, *os.File, error) {
	defer end.Close()
	next, held, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer held.Close()
	cmd := role.Command(ctx, serversRole)
	cmd.ExtraFiles = []*os.File{socket, end, held}
	out, err := cmd.StdoutPipe()
	if err == nil {
		_, err = cmd.StdinPipe() // its end is the server's, whatever becomes of us
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		next.Close()
		return nil, nil, err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		endServer(cmd)
		next.Close()
		return nil, nil, fmt.Errorf("gRPC server did not start: %w", err)
	}
	return cmd, next, nil
}

func endServer(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// server is the body of the role.
func server() error {
	go func() { role.AwaitEnd(); os.Exit(0) }()
	socket := os.NewFile(fdListener, "listener")
	l, err := net.FileListener(socket)
	if err != nil {
		return err
	}
	socket.Close()
	s := grpc.NewServer()
	echov1.RegisterEchoServer(s, answerer{})
	if err := warm(s); err != nil {
		return err
	}
	fmt.Println("warm")
	if _, err := io.Copy(io.Discard, os.NewFile(fdPredecessor, "predecessor")); err != nil {
		return err
	}
	return s.Serve(l)
}

// warm has a server answer some calls.
func warm(s *grpc.Server) error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fmt.Sprintf("@bench-failover-%d", os.Getpid()), Net: "unix"})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	for range 20 {
		if _, err := (freshClient{"unix-abstract:" + l.Addr().String()[1:]}).Ask(context.Background()); err != nil {
			return err
		}
	}
	l.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

type answerer struct{ echov1.UnimplementedEchoServer }

func (answerer) Say(context.Context, *echov1.SayRequest) (*echov1.SayResponse, error) {
	return &echov1.SayResponse{Pid: int32(os.Getpid())}, nil
}
