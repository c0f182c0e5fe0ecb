package supervisor

import (
	"understudy/internal/hypervisor"
	"understudy/sentinel"
)

// memoryFeature says whether the machine keeps its free memory. Where it gives
// it back to a hypervisor, some hypervisors unmap memory in use beside it, and
// what is seldom used is late at a failover then (docs/ARCHITECTURE.md).
func memoryFeature() sentinel.Feature {
	f := sentinel.Feature{Name: "free memory", InUse: "kept", Best: true}
	if hypervisor.PageReporting() {
		f.InUse, f.Best = "given back to the hypervisor", false
		f.Why = "page reporting, which can make the failover of a large worker some ms late: turn it off for this virtual machine, or, where the kernel takes it, `echo 11 > " +
			hypervisor.PageReportingOrder + "`"
	}
	return f
}
