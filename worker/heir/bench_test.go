//go:build linux && (amd64 || arm64)

package heir

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkDeath reports, in µs after the kill, when the worker's pidfd and
// its clients know. Run it with -benchtime=50x: every iteration is one kill.
func BenchmarkDeath(b *testing.B) {
	for _, load := range []struct {
		name string
		busy int
	}{{"idle", 0}, {"busy", runtime.NumCPU()}} {
		for _, mb := range []int{0, 64, 256, 1024} {
			for _, name := range []string{"without", "heir"} {
				b.Run(fmt.Sprintf("%s/%dMB/%s", load.name, mb, name), func(b *testing.B) {
					for range load.busy {
						spin(b)
					}
					var all []death
					for b.Loop() {
						all = append(all, die(b, spec{Heir: name == "heir", Ballast: mb}))
					}
					describe(b, all, "pidfd", func(d death) time.Duration { return d.pidfd })
					describe(b, all, "unix", func(d death) time.Duration { return d.unix })
					describe(b, all, "tcp", func(d death) time.Duration { return d.tcp })
					b.ReportMetric(0, "ns/op") // mostly the start of workers: says nothing
				})
			}
		}
	}
}

// describe reports p50 and p95 in µs.
func describe(b *testing.B, ds []death, name string, of func(death) time.Duration) {
	b.Helper()
	all := make([]time.Duration, len(ds))
	for i, d := range ds {
		all[i] = of(d)
	}
	slices.Sort(all)
	for _, p := range []int{50, 95} {
		at := all[min(len(all)*p/100, len(all)-1)]
		b.ReportMetric(float64(at.Microseconds()), fmt.Sprintf("%s-p%d-µs", name, p))
	}
}

// spin keeps a CPU busy with a process of normal priority until b ends.
func spin(b *testing.B) {
	b.Helper()
	cmd := exec.Command("/bin/sh", "-c", "while :; do :; done")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}
