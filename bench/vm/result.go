package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"understudy/bench/vm/plan"
)

// unpack reads what the guest wrote to its disk into a directory here.
func unpack(disk, out string) (results []plan.Result, err error) {
	from, err := os.Open(disk)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	// Nothing that the archive says gets out of it.
	root, err := os.OpenRoot(out)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := root.Remove(plan.Results); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // an earlier run's
	}
	for archive := tar.NewReader(from); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = place(root, h, archive)
		}
		if err != nil {
			return nil, err
		}
	}
	text, err := root.ReadFile(plan.Results)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &results); err != nil {
		return nil, fmt.Errorf("%s: %w", plan.Results, err)
	}
	return results, nil
}

// place writes one file of the archive; there is nothing but files and
// directories that matters.
func place(root *os.Root, h *tar.Header, content io.Reader) error {
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	if err := root.MkdirAll(path.Dir(h.Name), 0o755); err != nil {
		return err
	}
	f, err := root.Create(h.Name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// verdicts counts the tests in a log, and returns the lines of those that
// failed or were skipped, with the last that they said. A program's log has
// none.
func verdicts(log string) (counts string, lines []string, err error) {
	text, err := os.ReadFile(log)
	if err != nil {
		return "", nil, err
	}
	n := map[string]int{}
	said := map[string]string{} // by test
	running := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line) // a test may run the suite again and print it
		words := strings.Fields(line)
		switch {
		case len(words) == 3 && words[0] == "===": // RUN, CONT, NAME
			running = words[2]
			if words[1] == "RUN" {
				delete(said, running)
			}
		case strings.HasPrefix(line, "--- ") && len(words) >= 3:
			verdict := strings.TrimSuffix(words[1], ":")
			n[verdict]++
			if verdict == "FAIL" || verdict == "SKIP" {
				if s := said[words[2]]; s != "" {
					line += ": " + s
				}
				lines = append(lines, line)
			}
		default:
			if where, what, ok := strings.Cut(line, ": "); ok && strings.Contains(where, "_test.go:") {
				said[running] = what
			}
		}
	}
	if len(n) > 0 {
		counts = fmt.Sprintf(", %d passed, %d failed, %d skipped", n["PASS"], n["FAIL"], n["SKIP"])
	}
	return counts, lines, nil
}
