package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"understudy/bench/internal/daemon"
	"understudy/bench/internal/report"
)

// build is one build of the programs that are measured.
type build struct {
	understudyd, echo string
	// against says that it is the one that the other is compared with.
	against bool
}

// name is the label of a row of this build.
func (b build) name(what string) string {
	if b.against {
		return what + " (against)"
	}
	return what
}

// makeBuilds makes this source's programs, unless they are given, and finds those
// of -against.
func (b *bench) makeBuilds(ctx context.Context) error {
	this := build{understudyd: b.understudyd, echo: b.echo}
	if err := daemon.BuildMissing(ctx, b.dir.Join(), map[*string]string{&this.understudyd: daemon.Program, &this.echo: daemon.Echo}); err != nil {
		return err
	}
	b.builds = []build{this}
	if b.against == "" {
		b.report.Source = report.Source(this.understudyd)
		return nil
	}
	other, err := findBuild(b.against)
	if err != nil {
		return fmt.Errorf("-against: %w", err)
	}
	b.builds = append(b.builds, other)
	b.report.Basis, b.report.Source = "against", fmt.Sprintf("%s against %s",
		cmp.Or(report.Source(this.understudyd), "unknown"), cmp.Or(report.Source(other.understudyd), b.against))
	return nil
}

// findBuild takes the folder of a built tree, or two programs.
func findBuild(where string) (build, error) {
	found := build{against: true}
	var two bool
	if found.understudyd, found.echo, two = strings.Cut(where, ","); !two {
		found.understudyd, found.echo = filepath.Join(where, "bin", "understudyd"), filepath.Join(where, "patterns", "echo", "echo")
	}
	for _, program := range []string{found.understudyd, found.echo} {
		if _, err := os.Stat(program); err != nil {
			return build{}, fmt.Errorf("%w: give a tree in which `make build` was run, or understudyd and echo with a comma between", err)
		}
	}
	// A daemon may change its working directory.
	var err error
	if found.understudyd, err = filepath.Abs(found.understudyd); err == nil {
		found.echo, err = filepath.Abs(found.echo)
	}
	return found, err
}
