package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"understudy/bench/internal/daemon"
	"understudy/bench/internal/role"
)

// tools are programs that are built once.
type tools struct {
	understudyd string
}

// supervised is understudyd with the same worker as a pattern.
type supervised struct{ *daemon.Daemon }

func startUnderstudy(ctx context.Context, p place) (instance, error) {
	name, value, _ := strings.Cut(role.Environment(workerRole), "=")
	d, err := daemon.Start(ctx, daemon.Config{Program: p.tools.understudyd, Dir: p.dir, Pattern: daemon.Pattern{
		Name: workerRole, Program: p.worker, Environment: map[string]string{name: value},
		Config: map[string]string{"ballast_mb": strconv.Itoa(p.mb)}, Spares: 1, Heir: true, StartTimeout: time.Minute}})
	if err != nil {
		return nil, err
	}
	_, address, err := d.Launch(ctx, "bench")
	if err == nil {
		// Clients ask at the same place with every peer.
		err = os.Symlink(strings.TrimPrefix(address, "unix://"), p.socket)
	}
	if err == nil {
		err = d.AwaitSpare(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return supervised{d}, nil
}

func (s supervised) bury(_ context.Context, pid int) (func(context.Context, *client) error, error) {
	f, err := s.Attend(pid)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ *client) error {
		defer f.Close()
		if err := f.Await(ctx); err != nil {
			return err
		}
		return s.AwaitSpare(ctx)
	}, nil
}

func (s supervised) stop() error { return s.Stop() }
