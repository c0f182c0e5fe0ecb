package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestModulesComeAfterThoseTheyNeed(t *testing.T) {
	files := map[string]string{"virtio_blk": "a/virtio_blk.ko", "virtio": "b/virtio.ko", "virtio_ring": "virtio_ring.ko", "tcp_diag": "tcp-diag.ko"}
	needs := func(file string) ([]string, error) {
		return map[string][]string{"a/virtio_blk.ko": {"virtio", "virtio-ring"}, "b/virtio.ko": {"virtio_ring"}}[file], nil
	}
	order, err := inOrder([]string{"virtio_blk", "built_in", "tcp-diag", "virtio"}, files, needs)
	require.NoError(t, err)
	require.Equal(t, []string{"virtio_ring.ko", "b/virtio.ko", "a/virtio_blk.ko", "tcp-diag.ko"}, order)
}
