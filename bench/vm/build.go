package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"understudy/bench/internal/scratch"
	"understudy/bench/vm/plan"
)

// image is the first file system of a guest, and what it will do.
type image struct {
	path string
	plan plan.Plan
}

// build builds everything that runs in the guest, and its file system.
func (o *options) build(ctx context.Context, dir *scratch.Dir, k kernel, shell string) (image, error) {
	im := image{path: dir.Join("initramfs")}
	t := newTree()
	add := func(name string, args ...string) (err error) {
		file := dir.Join(name)
		if err = goBuild(ctx, file, args...); err == nil {
			t.file("bin/"+name, file)
		}
		return err
	}
	// The first process lies where the kernel looks for it.
	if err := goBuild(ctx, dir.Join("init"), "build", "understudy/bench/vm/guest"); err != nil {
		return im, err
	}
	t.file("init", dir.Join("init"))

	if shell != "" {
		t.file(plan.Shell, shell)
	}

	for _, pattern := range o.packages {
		packages, err := list(ctx, pattern)
		if err != nil {
			return im, err
		}
		for _, p := range packages {
			if !p.tested() {
				continue
			}
			name := strings.ReplaceAll(p.short(), "/", ".") + ".test"
			if err := add(name, "test", "-c", p.ImportPath); err != nil {
				return im, err
			}
			// Tests run in their package's folder.
			at := "/src/" + p.short()
			if err := t.folder(path.Join(at, "testdata"), filepath.Join(p.Dir, "testdata")); err != nil {
				return im, err
			}
			im.command(o, name, at, o.tests)
		}
	}
	for n, words := range o.programs {
		packages, err := list(ctx, words[0])
		if err == nil && len(packages) != 1 {
			err = fmt.Errorf("%s is not one program", words[0])
		}
		if err != nil {
			return im, err
		}
		name := path.Base(packages[0].ImportPath)
		if im.has(name) {
			name = fmt.Sprintf("%s.%d", name, n+1)
		}
		if err := add(name, "build", packages[0].ImportPath); err != nil {
			return im, err
		}
		// What it leaves in its folder is brought back.
		im.command(o, name, plan.Out+"/"+name, words[1:])
	}
	if len(im.plan.Commands) == 0 {
		return im, errors.New("nothing to run: the packages have no tests")
	}

	modules, err := k.modulesFor(append(disk, o.modules...))
	if err != nil {
		return im, err
	}
	for _, m := range modules {
		t.file(path.Join(plan.Modules, filepath.Base(m)), m)
		im.plan.Modules = append(im.plan.Modules, filepath.Base(m))
	}
	text, err := json.Marshal(im.plan)
	if err != nil {
		return im, err
	}
	t.text(plan.File, string(text))
	// Just enough for programs that look up users.
	t.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
	t.text("etc/group", "root:x:0:\nnogroup:x:65534:\n")
	t.text("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
	return im, t.write(im.path)
}

func (im *image) command(o *options, name, dir string, args []string) {
	im.plan.Commands = append(im.plan.Commands, plan.Command{
		Name: name, Args: append([]string{"/bin/" + name}, args...), Dir: dir, Timeout: o.timeout,
	})
}

func (im *image) has(name string) bool {
	for _, c := range im.plan.Commands {
		if c.Name == name {
			return true
		}
	}
	return false
}

// gopackage is what `go list -json` says of a package.
type gopackage struct {
	ImportPath, Dir           string
	TestGoFiles, XTestGoFiles []string
	Module                    struct{ Path string }
}

func (p gopackage) tested() bool { return len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 }

// short is the path below the module.
func (p gopackage) short() string {
	if s := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, p.Module.Path), "/"); s != "" {
		return s
	}
	return path.Base(p.ImportPath)
}

func list(ctx context.Context, pattern string) (all []gopackage, err error) {
	out, err := output(ctx, "", "go", "list", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles,Module", pattern)
	if err != nil {
		return nil, err
	}
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var p gopackage
		if err := d.Decode(&p); err != nil {
			return nil, fmt.Errorf("go list %s: %w", pattern, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// goBuild makes a static binary: the guest has no C library.
func goBuild(ctx context.Context, file string, args ...string) error {
	what := args[len(args)-1]
	args = append(args[:len(args)-1:len(args)-1], "-trimpath", "-o", file, what)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", what, err, out)
	}
	return nil
}
