package main

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFlagsThatMakeNoSense(t *testing.T) {
	for name, args := range map[string][]string{
		"neither a package nor a -program": {"-program", " "},
		"neither kvm nor tcg":              {"-accel", "xen", "./sentinel"},
		"256 MiB":                          {"-memory", "64", "./sentinel"},
		"not defined":                      {"-no-such", "./sentinel"},
	} {
		t.Run(name, func(t *testing.T) {
			var o options
			require.ErrorContains(t, o.parse(args, io.Discard), name)
		})
	}
	var o options
	require.NoError(t, o.parse([]string{"-accel", "tcg", "-program", "./bench/detect -n 3", "./sentinel"}, io.Discard))
	require.Equal(t, [][]string{{"./bench/detect", "-n", "3"}}, o.programs)
	require.Equal(t, []string{"./sentinel"}, o.packages)
}
