// Package floors keeps the order of the house: a package imports only from
// floors below its own (docs/ARCHITECTURE.md, "The house"). Its test is all
// there is of it.
package floors

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "understudy/"

// floors is the house from the ground up. An entry is a package below the
// module; one that ends in "/" stands also for all below it. The lowest match
// counts.
var floors = [][]string{
	{"proto/", "internal/dirlock", "internal/event", "internal/strictyaml", "internal/floors",
		"internal/fdpass", "internal/procfs", "internal/monotime", "internal/procid", "internal/text", "internal/pace",
		"internal/fault", "internal/cgroup"},
	{"sentinel/", "shmregistry/", "internal/control"},
	{"takeover/", "patterns", "worker/", "route/"},
	{"pool/"},
	{"isolation/"},
	{"internal/observe"},
	{"internal/"},
	{"supervisor/"},
	{"patterns/internal/"},
	{"patterns/"}, // the programs
	{"cmd/", "bench/"},
}

// floorOf returns the number of a package's floor, or -1.
func floorOf(pkg string) int {
	for n, rooms := range floors {
		for _, room := range rooms {
			if pkg == room || strings.HasSuffix(room, "/") && strings.HasPrefix(pkg+"/", room) {
				return n
			}
		}
	}
	return -1
}

// sameRoom reports whether two packages are parts of one: internal and patterns
// are corridors, not rooms.
func sameRoom(a, b string) bool {
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
	if (imported == grpc || strings.HasPrefix(imported, grpc+"/")) && floorOf(pkg) <= floorOf("isolation") &&
		!strings.HasPrefix(pkg, "proto/") && !strings.HasPrefix(pkg, "worker") && !strings.HasPrefix(pkg, "route") {
		return fmt.Sprintf("%s imports %s: only the SDKs and what is above isolation know gRPC", pkg, imported)
	}
	below, ours := strings.CutPrefix(imported, module)
	switch {
	case !ours || sameRoom(pkg, below):
		return ""
	case floorOf(pkg) < 0:
		return fmt.Sprintf("%s stands on no floor; give it one here", pkg)
	case floorOf(below) >= floorOf(pkg):
		return fmt.Sprintf("%s (floor %d) imports %s (floor %d)", pkg, floorOf(pkg), below, floorOf(below))
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
		{"worker", "google.golang.org/grpc", true},
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
