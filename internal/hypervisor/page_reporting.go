// Package hypervisor tells what this virtual machine's hypervisor may do to its
// memory, as far as the kernel says it.
package hypervisor

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// PageReportingOrder is the kernel's parameter that says how large a free block
// must be to be given back, as an order: 2^order pages (mm/page_reporting.c).
// One above LargestOrder gives back none.
const PageReportingOrder = "/sys/module/page_reporting/parameters/page_reporting_order"

// LargestOrder is the order of the largest block that the kernel keeps as one
// with pages of 4 KiB (MAX_PAGE_ORDER).
const LargestOrder = 10

// reportingFeature is the bit of a balloon that takes reports of free pages
// (virtio specification, 5.5.3, VIRTIO_BALLOON_F_PAGE_REPORTING).
const reportingFeature = 5

// PageReporting says whether the kernel gives free memory back to the
// hypervisor of itself, and will have to ask for it again: a balloon device
// takes such reports, and blocks of some size are reported.
func PageReporting() bool { return pageReporting(os.DirFS("/")) }

func pageReporting(root fs.FS) bool {
	// Kernels before 5.14 have no parameter, and report.
	if b, err := fs.ReadFile(root, strings.TrimPrefix(PageReportingOrder, "/")); err == nil {
		order, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
		if err != nil || order > LargestOrder {
			return false
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
