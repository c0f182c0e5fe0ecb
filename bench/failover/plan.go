package main

import (
	"fmt"

	"understudy/bench/internal/busy"
	"understudy/bench/internal/command"
	"understudy/bench/internal/floor"
	"understudy/bench/internal/outage"
)

// row is one line of the table: many deaths under the same circumstances.
type row struct {
	source string
	mb     int
	client string
	load   string
	death  death
	moment outage.Moment
}

// bare is the source of a worker without an heir under the pidfd alone: what a
// supervisor has that knows nothing better.
const bare = "bare"

var (
	clients = []string{firstByte, fresh, channel, routed, retried}
	loads   = []string{busy.Idle, busy.Busy}
	moments = []string{string(outage.During), string(outage.Between)}
	sources = []string{"auto", "kernel", "connector", "pidfd", bare}
)

// death is how a worker dies.
type death string

const (
	sigkill death = "SIGKILL"
	// sigsegv, with the core of the whole worker written to disk.
	sigsegv death = "SIGSEGV+core"
)

// plan are the rows in the order in which they are measured.
func (o *options) plan() []row {
	var rows []row
	for _, source := range o.sources {
		for _, of := range []struct {
			death death
			sizes []int
		}{{sigkill, o.ballast}, {sigsegv, o.core}} {
			for _, mb := range of.sizes {
				for _, load := range o.loads {
					for _, client := range o.clients {
						for _, moment := range o.moments {
							rows = append(rows, row{source, mb, client, load, of.death, outage.Moment(moment)})
						}
					}
				}
			}
		}
	}
	return rows
}

// work is about how many seconds a row takes.
func (o *options) work(r row) float64 {
	death := 0.2 + 1.2*float64(r.mb)/1024 // with the new spare, twice
	death += o.spread.Seconds()           // two rests of half of it
	if r.death == sigsegv {
		death += 1.5 * float64(r.mb) / 1024
	}
	if o.against != "" {
		death *= 2
	}
	return death * float64(o.n)
}

// labels are the row's cells; what is the one that differs between a death and
// what it is compared with.
func (r row) labels(what string) []string {
	return []string{what, fmt.Sprintf("%d MB", r.mb), r.client, r.load, string(r.death), string(r.moment), r.source}
}

// String names the row.
func (r row) String() string {
	return fmt.Sprintf("%d MB, %s, %s, %s %s, %s", r.mb, r.client, r.load, r.death, r.moment, r.source)
}

// floorName is the kind of floor that a client's row is compared with.
func floorName(client string) string {
	if client == fresh || client == firstByte {
		return string(floor.Fresh)
	}
	return string(floor.Held)
}

// room says why the row cannot be measured, or "". While a death's memory is
// still being freed, the active worker, its standby and the next standby are
// resident.
func (r row) room() (string, error) { return command.NoRoom(3 * r.mb) }
