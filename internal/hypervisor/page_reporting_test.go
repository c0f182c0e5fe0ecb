package hypervisor

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const (
	elevenOrders   = "Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3 \n"
	fourteenOrders = "Node 0, zone   Normal      7      0      0      0      0      0      0      0      1      1      3  0  2  9\n"
)

func TestPageReporting(t *testing.T) {
	const (
		takes = "01100100000\n"
		other = "01100000000\n"
	)
	for name, of := range map[string]struct {
		order, features, blocks string
		want                    bool
	}{
		"no virtual machine":                  {"", "", elevenOrders, false},
		"a balloon that takes reports":        {"9\n", takes, elevenOrders, true},
		"the largest blocks are reported":     {"10\n", takes, elevenOrders, true},
		"no block is that large":              {"11\n", takes, elevenOrders, false},
		"larger pages have larger blocks":     {"11\n", takes, fourteenOrders, true},
		"a balloon that takes none":           {"9\n", other, elevenOrders, false},
		"a kernel without the parameter":      {"", takes, elevenOrders, true},
		"no device has asked":                 {"4294967295\n", takes, elevenOrders, false},
		"no device has asked, as signed":      {"-1\n", takes, elevenOrders, false},
		"no balloon":                          {"9\n", "", elevenOrders, false},
		"features that are cut off":           {"9\n", "0110", elevenOrders, false},
		"nobody knows how large a block is":   {"9\n", takes, "", true},
		"an order that no kernel would write": {"nine\n", takes, elevenOrders, false},
	} {
		root := fstest.MapFS{}
		put := func(path, text string) {
			if text != "" {
				root[strings.TrimPrefix(path, "/")] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		put(PageReportingOrder, of.order)
		put("sys/bus/virtio/drivers/virtio_balloon/unbind", "x")
		put("sys/bus/virtio/drivers/virtio_balloon/virtio0/features", of.features)
		put("proc/buddyinfo", of.blocks)
		require.Equal(t, of.want, pageReporting(root), name)
	}
}

func TestNoBlock(t *testing.T) {
	real, err := NoBlock()
	require.NoError(t, err)
	require.Greater(t, real, 8, "a huge page is a block")
	for text, want := range map[string]int{elevenOrders: 11, fourteenOrders: 14} {
		got, err := noBlock(fstest.MapFS{"proc/buddyinfo": &fstest.MapFile{Data: []byte(text)}})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "Node 0, zone DMA\n"} {
		_, err := noBlock(fstest.MapFS{"proc/buddyinfo": &fstest.MapFile{Data: []byte(text)}})
		require.Error(t, err)
	}
}
