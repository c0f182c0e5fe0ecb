package main

import (
	"context"

	"understudy/bench/internal/floor"
	"understudy/bench/internal/outage"
	"understudy/bench/internal/report"
)

// beside is the floor of a row's client, measured in turn with the row's
// deaths: the same machine in the same minutes, with as much memory that was
// touched just before. The floor's processes die of SIGKILL, between two
// requests.
type beside struct {
	row     *report.Row
	servers *servers // nil for a client of the bare floor
}

// newBeside adds the floor's row to the report. Without the flag it is nil.
func (b *bench) newBeside(ctx context.Context, r row) (*beside, error) {
	if !b.beside {
		return nil, nil
	}
	what, like := "gRPC floor", r.client
	switch r.client {
	case firstByte:
		what, like = "floor", string(floor.Fresh)
	case routed, retried:
		like = channel
	}
	labels := r.labels(what + " in turn with " + r.client)
	labels[2], labels[4], labels[5] = like, string(sigkill), string(outage.Between)
	f := &beside{row: b.report.Row(labels...)}
	if r.client == firstByte {
		return f, nil
	}
	f.row.Floor = b.floors[r.load+floorName(r.client)]
	var err error
	f.servers, err = startServers(ctx, b.dir.Join(), like)
	return f, err
}

// prepare has the gRPC floor's standby ready before a death of the row: like
// the client, it has done nothing then since the memory of the row's next spare
// was touched. The bare floor makes its processes when it is measured.
func (f *beside) prepare(ctx context.Context) error {
	if f == nil || f.servers == nil {
		return nil
	}
	return f.servers.prepare(ctx)
}

// once measures one death of the floor.
func (f *beside) once(ctx context.Context) error {
	if f.servers == nil {
		return floor.Measure(ctx, floor.Fresh, 1, f.row.Record)
	}
	took, err := f.servers.once(ctx)
	if err == nil {
		f.row.Record(took)
	}
	return err
}

func (f *beside) close() error {
	if f == nil || f.servers == nil {
		return nil
	}
	return f.servers.close()
}
