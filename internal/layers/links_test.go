package layers

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// light are packages whose users must not have to link what they do not use:
// a worker that speaks HTTP needs no gRPC.
var light = map[string][]string{
	"worker":              {"google.golang.org/grpc"},
	"shmregistry/segment": {"google.golang.org/"},
}

func TestLightPackagesStayLight(t *testing.T) {
	for pkg, heavy := range light {
		out, err := exec.Command("go", "list", "-deps", module+pkg).CombinedOutput()
		require.NoError(t, err, string(out))
		linked := strings.Fields(string(out))
		require.Contains(t, linked, module+pkg)
		for _, path := range linked {
			for _, prefix := range heavy {
				require.Falsef(t, strings.HasPrefix(path, prefix), "%s links %s", pkg, path)
			}
		}
	}
}
