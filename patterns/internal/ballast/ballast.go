// Package ballast makes a worker as large as a real one of its kind, for measurements.
package ballast

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Key is the name of the setting of a pattern's config, in MiB.
const Key = "ballast_mb"

// Ballast is resident memory outside the Go heap, which makes the process as
// slow to tear down as a real one of that size. It is never given back.
type Ballast [][]byte

// Raise maps and touches what is missing to mb MiB.
func (b *Ballast) Raise(mb int) error {
	have := 0
	for _, m := range *b {
		have += len(m)
	}
	want := mb<<20 - have
	if want <= 0 {
		return nil
	}
	m, err := unix.Mmap(-1, 0, want, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("ballast of %d MiB: %w", mb, err)
	}
	*b = append(*b, m)
	return nil
}

// RaiseTo is Raise to what the config asks for under Key, by default nothing.
func (b *Ballast) RaiseTo(config map[string]string) error {
	v, ok := config[Key]
	if !ok {
		return nil
	}
	mb, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return fmt.Errorf("config %s: %q is not a whole number from 0 to %d", Key, v, 1<<31-1)
	}
	return b.Raise(int(mb))
}
