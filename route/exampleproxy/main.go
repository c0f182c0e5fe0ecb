// Command exampleproxy is a gRPC proxy in front of one pattern, to learn from.
// It reads x-namespace and x-session from a call's metadata, has the supervisor
// launch the binding if there is none, and passes the call on, whatever its
// service. When a worker dies, calls that -idempotent names are repeated, and
// the others end with UNAVAILABLE at once.
//
//	main.go     flags, start, stop
//	proxy.go    which binding a call is for, and the client for it
//	forward.go  the passing on of messages that nobody here understands
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"understudy/proto/prism/launcher"
	"understudy/route"
)

const (
	startTimeout = 10 * time.Second // for the supervisor's first answer
	stopTimeout  = 5 * time.Second  // for calls under way at the end
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "exampleproxy:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	f := flag.NewFlagSet("exampleproxy", flag.ContinueOnError)
	listen := f.String("listen", "127.0.0.1:0", "where clients connect")
	supervisor := f.String("supervisor", "127.0.0.1:8982", "gRPC target of understudyd")
	pattern := f.String("pattern", "echo", "the pattern to launch and to route to")
	idempotent := f.String("idempotent", "", "services and methods that may be repeated, separated by commas")
	if err := f.Parse(args); err != nil {
		return err
	}
	p := &proxy{pattern: *pattern, clients: make(map[route.Key]*grpc.ClientConn)}
	if p.policy, err = route.RetryPolicy(strings.FieldsFunc(*idempotent, func(r rune) bool { return r == ',' })...); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p.table, err = route.Dial(starting, *supervisor, route.WithPattern(*pattern),
		route.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		return err
	}
	api, err := grpc.NewClient(*supervisor, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return errors.Join(err, p.table.Close())
	}
	p.launcher = launcher.NewPatternLauncherClient(api)
	defer func() { p.close(); err = errors.Join(err, api.Close(), p.table.Close()) }()

	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(p.handle))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	fmt.Fprintf(stdout, "exampleproxy ready grpc=%s\n", l.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	hard := time.AfterFunc(stopTimeout, server.Stop)
	defer hard.Stop()
	server.GracefulStop()
	return <-served
}
