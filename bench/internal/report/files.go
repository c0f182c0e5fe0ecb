package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// WriteFiles writes name.txt, name.json, name.md and, where there is a time to
// be shown, name.svg into dir, which it makes if need be. panels are WriteSVG's.
// It returns the files written.
func (r *Report) WriteFiles(dir, name string, panels ...string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var files []string
	for _, f := range []struct {
		suffix string
		write  func(io.Writer) error
	}{
		{".txt", r.WriteTable},
		{".md", r.WriteMarkdown},
		{".json", r.WriteJSON},
		{".svg", func(w io.Writer) error { return r.WriteSVG(w, panels...) }},
	} {
		var b bytes.Buffer
		if err := f.write(&b); errors.Is(err, ErrNothing) {
			continue
		} else if err != nil {
			return files, err
		}
		file := filepath.Join(dir, name+f.suffix)
		if err := renameio.WriteFile(file, b.Bytes(), 0o644); err != nil {
			return files, fmt.Errorf("write %s: %w", file, err)
		}
		files = append(files, file)
	}
	return files, nil
}
