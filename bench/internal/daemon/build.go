// Package daemon runs the real understudyd under a benchmark: built from this
// source, in a scratch folder, with one pattern.
package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
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

// BuildOnce returns a function that builds programs at its first call, for tests:
// below the test binary's folder, which go test removes.
func BuildOnce(packages ...string) func() ([]string, error) {
	return sync.OnceValues(func() (programs []string, err error) {
		dir := filepath.Join(filepath.Dir(os.Args[0]), "programs")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		for _, pkg := range packages {
			program, err := Build(context.Background(), dir, pkg)
			if err != nil {
				return nil, err
			}
			programs = append(programs, program)
		}
		return programs, nil
	})
}

// BuildMissing builds each program that is not given, and sets its path.
func BuildMissing(ctx context.Context, dir string, programs map[*string]string) (err error) {
	for program, pkg := range programs {
		if *program == "" {
			if *program, err = Build(ctx, dir, pkg); err != nil {
				return err
			}
		}
	}
	return nil
}
