// Package keepmemory has a virtual machine's kernel keep its free memory while
// a benchmark runs, rather than report it to the hypervisor.
package keepmemory

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"understudy/internal/hypervisor"
)

// Start stops page reporting, and stop has it as it was again; a process that
// is killed in between leaves it stopped. Where nothing is reported both do
// nothing. Error: the kernel does not take the order, or not from this user.
func Start() (stop func() error, err error) {
	if !hypervisor.PageReporting() {
		return func() error { return nil }, nil
	}
	none, err := hypervisor.NoBlock()
	if err != nil {
		return nil, err
	}
	return set(hypervisor.PageReportingOrder, none)
}

// set writes an order into a file. back writes what was there.
func set(file string, order int) (back func() error, err error) {
	before, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, strconv.AppendInt(nil, int64(order), 10), 0)
	}
	if err != nil {
		return nil, fmt.Errorf("stop page reporting: %w; the hypervisor can turn it off for this virtual machine", err)
	}
	before = bytes.TrimSpace(before)
	return func() error {
		if err := os.WriteFile(file, before, 0); err != nil {
			return fmt.Errorf("page reporting is left stopped, write %s again: %w", before, err)
		}
		return nil
	}, nil
}
