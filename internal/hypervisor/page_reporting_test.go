package hypervisor

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestPageReporting(t *testing.T) {
	const (
		takes = "01100100000\n"
		other = "01100000000\n"
	)
	for name, of := range map[string]struct {
		order, features string
		want            bool
	}{
		"no virtual machine":                    {"", "", false},
		"a balloon that takes reports":          {"9\n", takes, true},
		"the largest blocks are reported":       {"10\n", takes, true},
		"no block is that large":                {"11\n", takes, false},
		"a balloon that takes none":             {"9\n", other, false},
		"a kernel without the parameter":        {"", takes, true},
		"the parameter before anybody asks":     {"4294967295\n", "", false},
		"the parameter, and no balloon":         {"9\n", "", false},
		"features that are cut off":             {"9\n", "0110", false},
		"an order that is beyond understanding": {"-1\n", takes, false},
	} {
		root := fstest.MapFS{}
		if of.order != "" {
			root[strings.TrimPrefix(PageReportingOrder, "/")] = &fstest.MapFile{Data: []byte(of.order)}
		}
		if of.features != "" {
			root["sys/bus/virtio/drivers/virtio_balloon/virtio0/features"] = &fstest.MapFile{Data: []byte(of.features)}
			root["sys/bus/virtio/drivers/virtio_balloon/unbind"] = &fstest.MapFile{}
		}
		require.Equal(t, of.want, pageReporting(root), name)
	}
}
