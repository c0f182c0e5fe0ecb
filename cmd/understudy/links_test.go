package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// daemonOnly are the packages that make a daemon, and what they bring with
// them. A name stands also for all below it.
var daemonOnly = []string{
	"understudy/pool", "understudy/isolation", "understudy/takeover", "understudy/sentinel", "understudy/worker",
	"understudy/internal/api", "understudy/internal/observe", "understudy/internal/control", "understudy/internal/cgroup",
	"github.com/cilium/ebpf", "github.com/prometheus", "github.com/coreos/go-systemd",
}

// The client is a small program for any machine: it links nothing of the daemon.
func TestTheClientLinksNothingOfTheDaemon(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	deps := strings.Fields(string(out))
	require.Contains(t, deps, "understudy/supervisor/config", "go list has listed what it should")
	require.NotContains(t, deps, "understudy/supervisor")
	for _, dep := range deps {
		for _, name := range daemonOnly {
			require.False(t, dep == name || strings.HasPrefix(dep, name+"/"), "understudy links %s", dep)
		}
	}
}
