package shmregistry_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/shmregistry"
)

// BenchmarkPrepare is what the caller waits for: a segment made and removed
// again, without a name and with one, whose memory is taken at once.
func BenchmarkPrepare(b *testing.B) {
	for _, c := range []struct {
		named bool
		size  int64
	}{{false, 1 << 20}, {false, 1 << 30}, {true, 1 << 20}, {true, 256 << 20}} {
		b.Run(fmt.Sprintf("named=%v/%dMiB", c.named, c.size>>20), func(b *testing.B) {
			cfg := newPlace(b).config()
			cfg.Limits.Total = 16 << 30
			r, err := shmregistry.Open(cfg)
			require.NoError(b, err)
			defer r.Close()
			specs := []shmregistry.Spec{{Name: "s", Size: c.size, OnDeath: shmregistry.Handover, Named: c.named}}
			for b.Loop() {
				if _, err := r.Prepare("b", 1, specs); err != nil {
					b.Fatal(err)
				}
				r.Remove("b")
			}
		})
	}
}
