package sentinel

import (
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// fifoPriority is the lowest real-time priority but one: above everything
	// ordinary and the heirs that cut connections (package pool), below whatever
	// else the machine runs in real time.
	fifoPriority = 2
	// slice is the time slice asked for where real time is not granted. Since
	// Linux 6.12 a waking task preempts one with a longer slice; 100 µs is the
	// shortest there is (sched(7), SCHED_OTHER).
	slice = 100 * time.Microsecond
)

// raisePriority gives the calling thread the best scheduling that it may have.
func raisePriority(wanted bool) Feature {
	f := Feature{Name: "real-time priority"}
	fifo := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO,
		Priority: fifoPriority, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if !wanted {
		f.InUse, f.Why = "normal", "turned off"
		return f
	}
	err := unix.SchedSetAttr(0, fifo, 0)
	if err == nil {
		f.InUse, f.Best = fmt.Sprintf("SCHED_FIFO %d", fifoPriority), true
		return f
	}
	f.Why = fmt.Sprintf("SCHED_FIFO: %v; needs CAP_SYS_NICE or RLIMIT_RTPRIO", err)
	if has(unix.CAP_SYS_NICE) {
		f.Why = fmt.Sprintf("SCHED_FIFO: %v; the cpu cgroup gives no real time (cpu.rt_runtime_us)", err)
	}
	short := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL,
		Runtime: uint64(slice), Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if unix.SchedSetAttr(0, short, 0) == nil {
		if got, err := unix.SchedGetAttr(0, 0); err == nil && got.Runtime == uint64(slice) {
			f.InUse = "short time slice"
			return f
		}
	}
	f.InUse = "normal"
	return f
}

// lockMemory keeps every page of the process in memory once it was there. What
// the path of a notice needs has been there: the probes went along it.
func lockMemory(wanted bool) Feature {
	f := Feature{Name: "locked memory"}
	if !wanted {
		f.InUse, f.Why = "no", "turned off"
		return f
	}
	var limit unix.Rlimit
	unlimited := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur == unix.RLIM_INFINITY
	// Under a limit the first allocation beyond it would fail.
	if !unlimited && !has(unix.CAP_IPC_LOCK) {
		f.InUse, f.Why = "no", "needs CAP_IPC_LOCK or RLIMIT_MEMLOCK without limit"
		return f
	}
	debug.FreeOSMemory() // what choosing the source took is not worth a lock
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		f.InUse, f.Why = "no", err.Error()
		return f
	}
	f.InUse, f.Best = "yes", true
	return f
}

// has reports whether this thread has a capability.
func has(capability uint) bool {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}
