// Package daemon runs the real understudyd under a benchmark: built from this
// source, in a scratch folder, with one pattern.
package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The packages of the programs that a benchmark may build.
const (
	Program = "understudy/cmd/understudyd"
	Echo    = "understudy/patterns/echo"
	DSP     = "understudy/patterns/dsp"
)

// Build builds a program of this module as `make build` does and returns its
// path, in dir. The commit goes into the program, whatever GOFLAGS says.
func Build(ctx context.Context, dir, pkg string) (string, error) {
	program := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=auto", "-o", program, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return program, nil
}
