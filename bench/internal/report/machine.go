package report

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/hypervisor"
)

// Machine is where and how a run took place.
type Machine struct {
	Kernel   string `json:"kernel"`
	Arch     string `json:"arch"`
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	MemoryMB int64  `json:"memory_mb"`
	Load     string `json:"load_average"`
	Go       string `json:"go"`
	Revision string `json:"revision,omitempty"`
	User     int    `json:"uid"`
	// PageReporting says that free memory was given back to a hypervisor.
	PageReporting bool      `json:"page_reporting"`
	Date          time.Time `json:"date"`
	Command       []string  `json:"command"`
}

// ThisMachine asks the kernel. What it does not say stays empty.
func ThisMachine() Machine {
	m := Machine{Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(),
		User: os.Getuid(), PageReporting: hypervisor.PageReporting(), Date: time.Now().UTC().Truncate(time.Second), Command: os.Args}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	m.CPU = field("/proc/cpuinfo", "model name")
	kb, _, _ := strings.Cut(field("/proc/meminfo", "MemTotal"), " ")
	if n, err := strconv.ParseInt(kb, 10, 64); err == nil {
		m.MemoryMB = n >> 10
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.TrimSpace(string(b))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				m.Revision = s.Value
			}
		}
	}
	return m
}

// field returns the value of the first line "key : value" of a file.
func field(file, key string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		k, v, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
