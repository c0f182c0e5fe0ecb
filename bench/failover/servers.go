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

// servers is the floor for clients that make gRPC calls: as the floor, two
// processes have one listening socket, and the second does nothing but wait for
// the death of the first, but they are gRPC servers in Go, and the second has
// answered calls before, elsewhere. Nothing else is between the kill and the
// answer: no supervisor, no protocol, no memory to free.
type servers struct {
	listener *net.UnixListener
	socket   *os.File // the listener's
	client   outage.Client
	active   *exec.Cmd
	standby  *exec.Cmd // nil before prepare
	end      *os.File  // of the newest server: what its successor waits for
}

// startServers has the first one answer, and a client of that kind. The socket
// is in dir.
func startServers(ctx context.Context, dir, kind string) (s *servers, err error) {
	path := dir + "/servers"
	s = &servers{}
	defer func() {
		if err != nil {
			err = fmt.Errorf("two gRPC servers: %w", errors.Join(err, s.close()))
		}
	}()
	if s.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}); err != nil {
		return s, err
	}
	if s.socket, err = s.listener.File(); err != nil {
		return s, err
	}
	if s.client, err = newClient(ctx, kind, where{address: "unix:" + path}); err != nil {
		return s, err
	}
	end, held, err := os.Pipe()
	if err != nil {
		return s, err
	}
	held.Close() // the first has no predecessor
	s.active, s.end, err = startServer(ctx, s.socket, end)
	return s, err
}

// prepare has the standby ready.
func (s *servers) prepare(ctx context.Context) (err error) {
	if s.standby, s.end, err = startServer(ctx, s.socket, s.end); err != nil {
		return fmt.Errorf("two gRPC servers: %w", err)
	}
	return nil
}

// once kills the active one, and gives the time to the standby's answer.
func (s *servers) once(ctx context.Context) (time.Duration, error) {
	dying := s.active
	s.active, s.standby = s.standby, nil
	o, err := outage.Measure(ctx, s.client, outage.Between, longest, func(pid int) error {
		if pid != dying.Process.Pid {
			return fmt.Errorf("the answer comes from it, not from %d", dying.Process.Pid)
		}
		return dying.Process.Kill()
	})
	endServer(dying)
	if err != nil {
		return 0, fmt.Errorf("two gRPC servers: %w", err)
	}
	return o.Gap(), nil
}

func (s *servers) close() (err error) {
	for _, server := range []*exec.Cmd{s.active, s.standby} {
		if server != nil {
			endServer(server)
		}
	}
	if s.end != nil {
		s.end.Close()
	}
	if s.client != nil {
		err = s.client.Close()
	}
	if s.socket != nil {
		s.socket.Close()
	}
	if s.listener != nil {
		s.listener.Close()
	}
	return err
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
