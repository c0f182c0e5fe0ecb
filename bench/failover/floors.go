package main

import (
	"context"
	"errors"
	"time"

	"understudy/bench/internal/busy"
	"understudy/bench/internal/floor"
	"understudy/bench/internal/outage"
	"understudy/bench/internal/report"
)

// floorKinds are the floors of bare processes.
var floorKinds = []floor.Kind{floor.Fresh, floor.Held, floor.Ended}

// measureFloor adds n deaths to each floor of bare processes. Before every row
// there are as many: they take a second, the machine has faster and slower
// minutes, and so the floor is of the same as the rows.
func (b *bench) measureFloor(ctx context.Context, load string) error {
	if b.against != "" {
		return nil
	}
	for _, kind := range floorKinds {
		if err := floor.Measure(ctx, kind, b.n, b.floors[load+string(kind)].Record); err != nil {
			return err
		}
	}
	return nil
}

// measureFloors begins the table with the floors. Two builds are compared with
// each other, and need none.
func (b *bench) measureFloors(ctx context.Context) error {
	if b.against != "" {
		return nil
	}
	for _, load := range b.loads {
		for _, kind := range floorKinds {
			b.floors[load+string(kind)] = b.report.Row("floor", "", string(kind), load, string(sigkill), string(outage.Between), "")
		}
		for _, client := range []string{fresh, channel} {
			b.progress.Part("floor of two gRPC servers, %s, %s", client, load)
			row := b.report.Row("gRPC floor", "", client, load, string(sigkill), string(outage.Between), "")
			row.Floor = b.floors[load+floorName(client)]
			if err := busy.Under(ctx, load, func() error { return b.measureServers(ctx, client, row) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) measureServers(ctx context.Context, client string, row *report.Row) error {
	s, err := startServers(ctx, b.dir.Join(), client)
	if err != nil {
		return err
	}
	for range b.n {
		if err = s.prepare(ctx); err != nil {
			break
		}
		var took time.Duration
		if took, err = s.once(ctx); err != nil {
			break
		}
		row.Record(took)
	}
	return errors.Join(err, s.close())
}
