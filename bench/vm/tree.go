package main

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"understudy/bench/vm/cpio"
)

// tree is a file system to be: where its files come from.
type tree struct {
	files []file
	at    map[string]bool // directories that the archive has
}

type file struct {
	name string
	from string // a file here
	text string // or the content itself
}

func newTree() *tree { return &tree{at: map[string]bool{".": true}} }

func (t *tree) file(name, from string) {
	t.files = append(t.files, file{name: strings.TrimPrefix(name, "/"), from: from})
}

func (t *tree) text(name, text string) {
	t.files = append(t.files, file{name: strings.TrimPrefix(name, "/"), text: text})
}

// folder adds the files below a folder, if there is one.
func (t *tree) folder(name, from string) error {
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		below, err := filepath.Rel(from, p)
		t.file(path.Join(name, filepath.ToSlash(below)), p)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// write writes the archive that the kernel unpacks.
func (t *tree) write(to string) (err error) {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffer := bufio.NewWriter(f)
	w := cpio.NewWriter(buffer)
	// The first process gets its standard files from the console, and Go's
	// runtime opens /dev/null if there is none.
	t.dir(w, "dev")
	w.Device("dev/console", 0o600, 5, 1)
	w.Device("dev/null", 0o666, 1, 3)
	t.dir(w, "root")
	for _, one := range t.files {
		t.dir(w, path.Dir(one.name))
		if err := one.write(w); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), buffer.Flush())
}

// dir adds a directory and its parents, once.
func (t *tree) dir(w *cpio.Writer, name string) {
	if t.at[name] {
		return
	}
	t.dir(w, path.Dir(name))
	t.at[name] = true
	w.Dir(name, 0o755)
}

func (f file) write(w *cpio.Writer) error {
	if f.from == "" {
		w.File(f.name, 0o644, int64(len(f.text)), strings.NewReader(f.text))
		return nil
	}
	from, err := os.Open(f.from)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	w.File(f.name, uint32(info.Mode().Perm()), info.Size(), from)
	return nil
}
