package worker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"understudy/worker"
)

// asWorker in the environment makes the test binary the worker "lines".
const asWorker = "WORKER_TEST_LINES"

// runLines is a worker that answers each line with "<process id> <epoch>
// <greeting> <line>"; the line "wait" with "waiting", and then the next one
// even if it has been drained meanwhile. Its config says where it fails: warm, rehearse, probe and serve can
// be "fail" or "hang", serve also "return".
func runLines() error {
	var config map[string]string
	return worker.Run(context.Background(), worker.Pattern{
		Warm: func(_ context.Context, c map[string]string) error {
			config = c
			if c["warm"] == "hang" {
				fmt.Println("warming up for ever")
			}
			return obey(c["warm"])
		},
		Probe: func(context.Context) error {
			if err := obey(config["probe"]); err != nil {
				return err
			}
			return checkReused()
		},
		Rehearse: func(_ context.Context, l net.Listener) error {
			return errors.Join(obey(config["rehearse"]), rehearseLines(l))
		},
		Serve: serveLines,
	})
}

// rehearseLines answers a client of its own.
func rehearseLines(l net.Listener) error {
	client, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Printf("rehearsed as %T\n", server)
	return nil
}

func obey(order string) error {
	switch order {
	case "fail":
		return errors.New("as it was told")
	case "hang":
		select {}
	}
	return nil
}

func serveLines(ctx context.Context, a *worker.Assignment) error {
	if a.Config["serve"] == "return" {
		return nil
	}
	var under sync.WaitGroup
	defer under.Wait()
	for {
		c, err := a.Listener().Accept()
		if err != nil {
			if a.Config["serve"] == "hang" {
				select {}
			}
			return err
		}
		if err := obey(a.Config["serve"]); err != nil {
			return err
		}
		under.Go(func() {
			defer c.Close()
			in := bufio.NewReader(c)
			for ctx.Err() == nil {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				switch line {
				case "wait\n":
					if _, err := fmt.Fprintln(c, "waiting"); err != nil {
						return
					}
					if line, err = in.ReadString('\n'); err != nil {
						return
					}
				case "reuse\n":
					reuse(c)
					return
				}
				if _, err := fmt.Fprintf(c, "%s %d %s %s", a.ProcessID, a.Epoch, a.Config["greeting"], line); err != nil {
					return
				}
			}
		})
	}
}

// reused is a pair of sockets of which one has the number of a connection that
// was closed.
var reused atomic.Pointer[[2]int]

// reuse closes c and gives its descriptor's number to something else.
func reuse(c net.Conn) {
	var number int
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		panic(err)
	}
	if err := raw.Control(func(fd uintptr) { number = int(fd) }); err != nil {
		panic(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	c.Close()
	if err := unix.Dup3(pair[0], number, unix.O_CLOEXEC); err != nil {
		panic(err)
	}
	c.Close() // as many programs do
	reused.Store(&[2]int{number, pair[1]})
}

// checkReused fails if somebody has shut the pair down.
func checkReused() error {
	pair := reused.Load()
	if pair == nil {
		return nil
	}
	if err := unix.Send(pair[0], []byte("x"), unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("what reuses descriptor %d is cut: %w", pair[0], err)
	}
	return nil
}
