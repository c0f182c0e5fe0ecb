// Package hypervisor tells what this virtual machine's hypervisor may do to its
// memory, as far as the kernel says it.
package hypervisor

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// PageReportingOrder is the kernel's parameter that says from which size on free
// blocks are given back, as an order: 2^order pages (mm/page_reporting.c, since
// Linux 5.14). Kernels as they come from kernel.org take orders of blocks only,
// since Linux 6.2; others also take one that no block has, which gives back
// none.
const PageReportingOrder = "/sys/module/page_reporting/parameters/page_reporting_order"

// reportingFeature is the bit of a balloon that takes reports of free pages
// (virtio specification, 5.5.3, VIRTIO_BALLOON_F_PAGE_REPORTING).
const reportingFeature = 5

// PageReporting says whether the kernel gives free memory back to the
// hypervisor of its own accord, and has to ask for it again later: a virtio
// balloon takes such reports, and blocks of some order are reported. Other
// hypervisors' balloons are not looked at.
func PageReporting() bool { return pageReporting(os.DirFS("/")) }

// NoBlock returns the lowest order that no block of free memory has.
func NoBlock() (int, error) { return noBlock(os.DirFS("/")) }

func pageReporting(root fs.FS) bool {
	if b, err := fs.ReadFile(root, strings.TrimPrefix(PageReportingOrder, "/")); err == nil {
		order, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
		none, unknown := noBlock(root)
		if err != nil || unknown == nil && order >= uint64(none) {
			return false // it is -1 as long as no device has asked for reports
		}
	}
	const balloons = "sys/bus/virtio/drivers/virtio_balloon"
	devices, err := fs.ReadDir(root, balloons)
	if err != nil {
		return false
	}
	for _, d := range devices {
		bits, err := fs.ReadFile(root, path.Join(balloons, d.Name(), "features"))
		if err == nil && len(bits) > reportingFeature && bits[reportingFeature] == '1' {
			return true
		}
	}
	return false
}

// noBlock counts what stands behind "Node 0, zone DMA" in /proc/buddyinfo: how
// many free blocks there are of each order (proc_buddyinfo(5)).
func noBlock(root fs.FS) (int, error) {
	b, err := fs.ReadFile(root, "proc/buddyinfo")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if orders := len(strings.Fields(line)) - 4; orders > 0 {
		return orders, nil
	}
	return 0, errors.New("/proc/buddyinfo has no orders")
}
