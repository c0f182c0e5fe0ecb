package shmregistry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"understudy/internal/atomicfile"
	"understudy/internal/fault"
)

const (
	// FileName is the registry's file in its state directory.
	FileName = "segments.json"

	fileVersion  = 1
	instanceFile = "segments.instance" // the identity alone, which must survive the loss of the other file
	lockFile     = "segments.lock"
)

var (
	// ErrVersion says that the file was written by a later version of this
	// program, which must not be undone.
	ErrVersion = errors.New("written by a newer version")
	// ErrDamaged says that the file does not hold what a registry writes.
	ErrDamaged = errors.New("damaged")
)

// contents is what the file holds.
type contents struct {
	Version  int     `json:"version"`
	Instance string  `json:"instance"`
	Segments []Entry `json:"segments"`
}

// ReadFile reads a registry's file, whether or not a supervisor runs. It fails
// with [ErrVersion], with [ErrDamaged], or with the cause why the file cannot
// be read.
func ReadFile(path string) ([]Entry, error) {
	_, entries, err := readFile(path)
	sortEntries(entries)
	return entries, err
}

func readFile(path string) (instance, []Entry, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return instance{}, nil, fmt.Errorf("reading the segment registry: %w", err)
	}
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return instance{}, nil, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	if v.Version > fileVersion {
		return instance{}, nil, fmt.Errorf("%s has version %d, this program knows %d: %w", path, v.Version, fileVersion, ErrVersion)
	}
	var c contents
	if err := json.Unmarshal(b, &c); err != nil {
		return instance{}, nil, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	if c.Version != fileVersion {
		return instance{}, nil, fmt.Errorf("%s: %w: version %d", path, ErrDamaged, c.Version)
	}
	i, err := parseInstance(c.Instance)
	if err != nil {
		return instance{}, nil, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	for n, e := range c.Segments {
		if e.Binding == "" || (Spec{Name: e.Segment, Size: e.Size, OnDeath: e.Policy}).Validate() != nil {
			return i, nil, fmt.Errorf("%s: %w: segment %d of %d, %.40q of %.80q", path, ErrDamaged, n+1, len(c.Segments), e.Segment, e.Binding)
		}
	}
	return i, c.Segments, nil
}

func writeFile(dir string, i instance, entries []Entry) error {
	b, err := json.MarshalIndent(contents{Version: fileVersion, Instance: i.String(), Segments: entries}, "", " ")
	if err != nil {
		return fmt.Errorf("writing the segment registry: %w", err)
	}
	return replaceFile(filepath.Join(dir, FileName), append(b, '\n'))
}

// readInstance reads the identity; a missing file is no error, and neither is a
// damaged one: both mean that it is not known from here.
func readInstance(dir string) (instance, bool) {
	b, err := os.ReadFile(filepath.Join(dir, instanceFile))
	if err != nil || len(b) == 0 {
		return instance{}, false
	}
	i, err := parseInstance(string(b[:len(b)-1]))
	return i, err == nil
}

func writeInstance(dir string, i instance) error {
	if is, ok := readInstance(dir); ok && is == i {
		return nil
	}
	return replaceFile(filepath.Join(dir, instanceFile), []byte(i.String()+"\n"))
}

// replaceFile puts data in the place of a file. Only the holder of the lock
// writes.
func replaceFile(path string, data []byte) error { return atomicfile.Replace(path, data, labels) }

var labels = atomicfile.Labels{Write: fault.SegmentsWrite, Sync: fault.SegmentsSync, Rename: fault.SegmentsRename, DirSync: fault.SegmentsDirSync}

// keepAside moves a damaged file out of the way, to be looked at, and returns
// its new name.
func keepAside(path, stamp string) (string, error) {
	for n := 0; ; n++ {
		aside := path + ".bad-" + stamp
		if n > 0 {
			aside = fmt.Sprintf("%s.%d", aside, n)
		}
		if _, err := os.Lstat(aside); !errors.Is(err, fs.ErrNotExist) {
			if n == 1000 || err != nil {
				return "", fmt.Errorf("no free name for a copy of %s", path)
			}
			continue
		}
		return aside, os.Rename(path, aside)
	}
}
