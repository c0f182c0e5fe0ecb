package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"understudy/worker"
)

// workerRole is the role of the process that everybody supervises: an HTTP
// server that answers with its pid and holds memory.
const workerRole = "worker"

// runWorker is the role. Under understudyd the socket comes with the
// activation; else the arguments are SOCKET MIB, and the worker listens by
// itself once it is warm, and says so in a line on its output.
func runWorker() error {
	if os.Getenv("UNDERSTUDY_CONTROL_FD") != "" {
		return worker.Run(context.Background(), worker.Pattern{
			Warm: func(ctx context.Context, config map[string]string) error { return warm(ctx, config["ballast_mb"]) },
			Serve: func(ctx context.Context, a *worker.Assignment) error {
				s := &http.Server{Handler: answer{}}
				defer context.AfterFunc(ctx, func() { s.Close() })()
				return s.Serve(a.Listener())
			},
		})
	}
	if len(os.Args) != 3 {
		return fmt.Errorf("arguments are SOCKET MIB, not %q", os.Args[1:])
	}
	if err := warm(context.Background(), os.Args[2]); err != nil {
		return err
	}
	l, err := takeAddress(os.Args[1])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return http.Serve(l, answer{})
}

// takeAddress listens in the place of whoever listened there before: there is
// always a socket at the address, if not always somebody behind it.
func takeAddress(path string) (net.Listener, error) {
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	l, err := net.Listen("unix", temporary)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l, os.Rename(temporary, path)
}

type answer struct{}

func (answer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write(strconv.AppendInt(nil, int64(os.Getpid()), 10))
}

// warm makes the memory resident and serves one request, so that the first of a
// client is not the first of all.
func warm(ctx context.Context, mb string) error {
	n, err := strconv.ParseUint(mb, 10, 20)
	if err != nil {
		return fmt.Errorf("ballast of %q MiB: %w", mb, err)
	}
	if n > 0 {
		if _, err := unix.Mmap(-1, 0, int(n<<20), unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE); err != nil {
			return fmt.Errorf("ballast of %d MiB: %w", n, err)
		}
	}
	l, err := net.Listen("unix", filepath.Join(os.TempDir(), fmt.Sprintf("understudy-bench-%d", os.Getpid())))
	if err != nil {
		return err
	}
	s := &http.Server{Handler: answer{}}
	go s.Serve(l)
	defer s.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c := newClient(l.Addr().String(), fresh)
	defer c.Close()
	if _, err := c.Ask(ctx); err != nil {
		return fmt.Errorf("first request: %w", err)
	}
	return nil
}
