// Package reporting has a virtual machine's kernel keep its free memory while a
// benchmark runs, rather than report it to the hypervisor.
package reporting

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"understudy/internal/hypervisor"
)

// Stop stops page reporting, and start has it as it was again; a process that
// is killed in between leaves it stopped. Where nothing is reported both do
// nothing. Error: the kernel does not take the order, or not from this user.
func Stop() (start func() error, err error) {
	if !hypervisor.PageReporting() {
		return func() error { return nil }, nil
	}
	before, err := os.ReadFile(hypervisor.PageReportingOrder)
	if err == nil {
		err = set(strconv.Itoa(hypervisor.LargestOrder + 1))
	}
	if err != nil {
		return nil, fmt.Errorf("stop page reporting: %w; the hypervisor can turn it off for this virtual machine", err)
	}
	return func() error { return set(string(bytes.TrimSpace(before))) }, nil
}

func set(order string) error {
	return os.WriteFile(hypervisor.PageReportingOrder, []byte(order), 0)
}
