package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"understudy/bench/internal/outage"
	"understudy/bench/internal/report"
	"understudy/route"
)

// quiet is what the client of a row takes when nobody dies, measured in turn
// with the row's deaths: what a failover adds is the difference.
//
// A client that keeps its connection loses it at a death, whoever takes over. So
// its connection is cut here too, by the client itself; the worker that answers
// was serving all the time. No supervisor can do better for such a client. What
// its requests take on a whole connection stands beside that.
type quiet struct {
	request *report.Row
	cut     *report.Row // nil for a client that keeps no connection
}

func (b *bench) newQuiet(r row, of build) quiet {
	labels := func(what string) []string {
		l := r.labels(of.name(what))
		l[4], l[5] = "", ""
		return l
	}
	q := quiet{request: b.report.Row(labels("nobody dies")...)}
	q.request.Floor = b.floors[r.load+floorName(r.client)]
	if r.client != firstByte && r.client != fresh {
		q.cut = b.report.Row(labels("nobody dies, connection cut")...)
		q.cut.Floor = q.request.Floor
	}
	return q
}

// base is the row that a death is compared with.
func (q quiet) base() *report.Row {
	if q.cut != nil {
		return q.cut
	}
	return q.request
}

// once measures the client of t, at no particular time.
func (q quiet) once(ctx context.Context, t *target) error {
	if err := t.rest(ctx); err != nil {
		return err
	}
	took, failed, err := outage.Undisturbed(ctx, t.client, longest, nil)
	if err != nil {
		return err
	}
	q.request.Record(took)
	q.request.Failed += int64(failed)
	if q.cut == nil {
		return nil
	}
	runtime.GC()
	held, err := connections(t.address)
	if err != nil {
		return err
	}
	took, failed, err = outage.Undisturbed(ctx, t.client, longest, func() error {
		var failed error
		for _, fd := range held {
			failed = errors.Join(failed, unix.Shutdown(fd, unix.SHUT_RDWR))
		}
		return failed
	})
	if err != nil {
		return err
	}
	q.cut.Record(took)
	q.cut.Failed += int64(failed)
	return nil
}

// connections are this process's descriptors that are connected to the address:
// what the client, whoever made it, holds.
func connections(address string) ([]int, error) {
	network, name := route.SplitAddress(address)
	if network != "unix" {
		return nil, fmt.Errorf("cut: %s is no unix socket", address)
	}
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	var held []int
	for _, entry := range all {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			return nil, err
		}
		peer, err := unix.Getpeername(fd)
		if err != nil {
			continue // no socket, or not connected
		}
		if u, ok := peer.(*unix.SockaddrUnix); ok && u.Name == name {
			held = append(held, fd)
		}
	}
	if len(held) == 0 {
		return nil, fmt.Errorf("cut: the client holds no connection to %s", address)
	}
	return held, nil
}
