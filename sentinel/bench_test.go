package sentinel

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What the kernel's programs cost those whom nobody watches.
func BenchmarkUnrelated(b *testing.B) {
	image, err := childImage()
	require.NoError(b, err)
	defer image.Close()
	work := func(b *testing.B) {
		b.Run("signal", func(b *testing.B) {
			for b.Loop() {
				_ = unix.Kill(unix.Getpid(), unix.SIGCONT) // nothing by default
			}
		})
		b.Run("death", func(b *testing.B) {
			for b.Loop() {
				c, err := startChild(image, patient)
				if err != nil {
					b.Fatal(err)
				}
				c.end()
			}
		})
	}
	b.Run("without", work)
	b.Run("with", func(b *testing.B) {
		k, err := openKernelEvents(ringSize, exitHooks)
		if err != nil {
			b.Skip(err)
		}
		defer k.close()
		work(b)
	})
}
