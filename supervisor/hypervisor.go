package supervisor

import (
	"understudy/internal/hypervisor"
	"understudy/sentinel"
)

// memoryFeature says whether the machine keeps its free memory. Where free
// memory is given back, a hypervisor may unmap memory in use with it. Pages that
// are seldom used then come late at a failover (docs/decisions/006-memory-and-hypervisor.md).
func memoryFeature(reported bool) sentinel.Feature {
	if !reported {
		return sentinel.Feature{Name: "free memory", InUse: "kept", Best: true}
	}
	return sentinel.Feature{Name: "free memory", InUse: "given back to the hypervisor",
		Why: "page reporting, which can make failovers of large workers some ms late: turn it off for this virtual machine, or, where the kernel takes it, write an order that no block has, such as 11, to " +
			hypervisor.PageReportingOrder}
}
