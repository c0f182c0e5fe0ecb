// Package layers checks the order of the packages: each one imports only from
// layers below its own. The table in this test is the definition;
// docs/ARCHITECTURE.md explains it.
package layers

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "understudy/"

// layers are the packages from the bottom up. An entry is a package path below
// the module. An entry that ends in "/" covers the packages below it too. The
// first match counts.
var layers = [][]string{
	{"internal/fault"},
	{"proto/", "internal/dirlock", "internal/event", "internal/strictyaml", "internal/layers", "internal/docs",
		"internal/fdpass", "internal/procfs", "internal/monotime", "internal/poll", "internal/procid", "internal/text", "internal/h2", "internal/pace",
		"internal/cgroup", "internal/descriptors", "internal/deepqueue", "internal/loop/", "internal/paths", "internal/principal", "internal/version", "internal/logkind", "internal/atomicfile"},
	{"sentinel/", "shmregistry/", "internal/control"},
	{"takeover/", "patterns", "worker/", "route/", "internal/segmentinfo"},
	{"pool/"},
	{"isolation/"},
	{"internal/observe"},
	{"internal/"},
	{"supervisor/"},
	{"patterns/internal/"},
	{"patterns/"}, // the programs
	{"cmd/", "bench/", "findings/"},
}

// layerOf returns the number of a package's layer, or -1.
func layerOf(pkg string) int {
	for n, entries := range layers {
		for _, e := range entries {
			if pkg == e || strings.HasSuffix(e, "/") && strings.HasPrefix(pkg+"/", e) {
				return n
			}
		}
	}
	return -1
}

// sameTree reports whether two packages belong together: both below one
// top-level folder, or below one folder of internal, patterns or cmd.
func sameTree(a, b string) bool {
	first := func(pkg string) string {
		parts := strings.SplitN(pkg, "/", 3)
		if (parts[0] == "internal" || parts[0] == "patterns" || parts[0] == "cmd") && len(parts) > 1 {
			return parts[0] + "/" + parts[1]
		}
		return parts[0]
	}
	return first(a) == first(b)
}

// wrong says what is wrong with one import, or "".
func wrong(pkg, imported string) string {
	const grpc = "google.golang.org/grpc"
	if (imported == grpc || strings.HasPrefix(imported, grpc+"/")) && layerOf(pkg) <= layerOf("isolation") &&
		!strings.HasPrefix(pkg, "proto/") && !strings.HasPrefix(pkg, "worker") && !strings.HasPrefix(pkg, "route") {
		return fmt.Sprintf("%s imports %s: only the SDKs and what is above isolation know gRPC", pkg, imported)
	}
	below, ours := strings.CutPrefix(imported, module)
	switch {
	case !ours || sameTree(pkg, below):
		return ""
	case layerOf(pkg) < 0:
		return fmt.Sprintf("%s is in no layer; add it to the table here", pkg)
	case layerOf(below) >= layerOf(pkg):
		return fmt.Sprintf("%s (layer %d) imports %s (layer %d)", pkg, layerOf(pkg), below, layerOf(below))
	}
	return ""
}

func TestImportsGoDownOnly(t *testing.T) {
	out, err := exec.Command("go", "list", "-e", "-f", "{{.ImportPath}}{{range .Imports}} {{.}}{{end}}", module+"...").CombinedOutput()
	require.NoError(t, err, string(out))
	packages := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Greater(t, len(packages), 5, "go list found too little: %s", out)
	for _, line := range packages {
		words := strings.Fields(line)
		for _, imported := range words[1:] {
			if w := wrong(strings.TrimPrefix(words[0], module), imported); w != "" {
				t.Error(w)
			}
		}
	}
}

func TestWrongImportsAreFound(t *testing.T) {
	for _, tt := range []struct {
		pkg, imported string
		ok            bool
	}{
		{"pool", "understudy/sentinel", true},
		{"pool", "understudy/isolation", false},
		{"sentinel", "understudy/patterns", false},
		{"patterns", "understudy/internal/strictyaml", true},
		{"patterns", "understudy/worker", false},
		{"patterns/echo", "understudy/patterns/echo/echov1", true},
		{"patterns/echo", "understudy/worker", true},
		{"worker", "understudy/worker/heir", true},
		{"worker/grpcworker", "google.golang.org/grpc", true},
		{"isolation", "google.golang.org/grpc/status", false},
		{"internal/api", "google.golang.org/grpc/status", true},
		{"internal/api", "understudy/internal/observe", true},
		{"internal/observe", "understudy/internal/api", false},
		{"internal/api", "understudy/internal/event", true},
		{"supervisor", "understudy/internal/api", true},
		{"cmd/understudyd", "understudy/supervisor", true},
		{"attic", "understudy/pool", false},
		{"attic", "strings", true},
	} {
		require.Equal(t, tt.ok, wrong(tt.pkg, tt.imported) == "", "%s imports %s", tt.pkg, tt.imported)
	}
}
