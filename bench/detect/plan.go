package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v3/mem"
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
	idle = "idle"
	busy = "busy"
	bare = "bare"
	heir = "heir"
)

var (
	loads   = []string{idle, busy}
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
	memory, err := mem.VirtualMemory()
	if err != nil {
		return "", fmt.Errorf("available memory: %w", err)
	}
	const margin = 512
	have := int(memory.Available >> 20)
	// With an heir the memory of one may still be there beside the next's.
	need := r.mb + margin
	if r.worker == heir {
		need += r.mb
	}
	if have < need {
		return fmt.Sprintf("needs %d MB of memory, %d are available", need, have), nil
	}
	return "", nil
}

func (o *options) setSizes(s string) error {
	o.sizes = nil
	for _, w := range strings.Split(s, ",") {
		n, err := strconv.ParseUint(w, 10, 20)
		if err != nil {
			return fmt.Errorf("%q is no size in MiB", w)
		}
		o.sizes = append(o.sizes, int(n))
	}
	return nil
}

// choose is a flag of words that must be among those known.
func choose(words *[]string, known []string) func(string) error {
	return func(s string) error {
		*words = nil
		for _, w := range strings.Split(s, ",") {
			if !slices.Contains(known, w) {
				return fmt.Errorf("%q is none of %s", w, strings.Join(known, ", "))
			}
			*words = append(*words, w)
		}
		return nil
	}
}
