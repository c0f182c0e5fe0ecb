package main

import (
	"fmt"
	"slices"

	"understudy/bench/internal/busy"
	"understudy/bench/internal/command"
)

// row is many deaths under the same circumstances; each source and step of the
// death is a line of the table.
type row struct {
	mb     int
	death  death
	load   string
	worker string
}

const (
	bare = "bare"
	heir = "heir"
)

var (
	loads   = []string{busy.Idle, busy.Busy}
	workers = []string{bare, heir}
)

// death is how a process dies.
type death string

const (
	sigkill death = "SIGKILL"
	// sigsegv by default action, with the core of the whole process written.
	sigsegv death = "SIGSEGV+core"
	exit    death = "exit"
	// panic is a Go panic that nobody recovers: some output, then an exit.
	panics death = "panic"
	// oom is the kernel's kill in a memory cgroup that is full.
	oom death = "OOM-kill"
)

// deaths in the order of the table, and the largest size at which each is worth
// its time (a core of 4 GB is mostly the disk's) or possible.
var deaths = []struct {
	death
	from, to int
}{{sigkill, 0, 1 << 20}, {sigsegv, 0, 1024}, {exit, 0, 1 << 20}, {panics, 0, 1024}, {oom, 16, 1024}}

func deathNames() (names []string) {
	for _, d := range deaths {
		names = append(names, string(d.death))
	}
	return names
}

// plan are the rows in the order in which they are measured.
func (o *options) plan() (rows []row) {
	for _, d := range deaths {
		if !slices.Contains(o.deaths, string(d.death)) {
			continue
		}
		for _, mb := range o.sizes {
			if mb < d.from || mb > d.to {
				continue
			}
			for _, load := range o.loads {
				for _, w := range o.workers {
					rows = append(rows, row{mb, d.death, load, w})
				}
			}
		}
	}
	return rows
}

func (r row) String() string {
	return fmt.Sprintf("%d MB, %s, %s, %s", r.mb, r.death, r.load, r.worker)
}

// work is about how many seconds a death of the row takes.
func (r row) work() float64 {
	w := 0.02 + 0.3*float64(r.mb)/1024
	if r.death == sigsegv {
		w += 1.5 * float64(r.mb) / 1024
	}
	return w
}

// room says why the row cannot be measured, or "".
func (r row) room() (string, error) {
	if r.worker == heir {
		return command.NoRoom(2 * r.mb) // the memory of one may still be there beside the next's
	}
	return command.NoRoom(r.mb)
}
