// Package atomicfile replaces files so that at any instant, and after a loss of
// power, there is the old one or the new one.
package atomicfile

import (
	"os"
	"path/filepath"

	"understudy/internal/fault"
)

// Labels are the faults of one user's replacements.
type Labels struct{ Write, Sync, Rename, DirSync fault.Label }

// Replace puts data in the place of the file at path. The file beside it has
// one fixed name, so one writer at a time: what a kill leaves is overwritten
// the next time. The two calls of fsync are for the data and for the name
// (fsync(2)); an error of the second leaves the new file in place.
func Replace(path string, data []byte, l Labels) error {
	beside := path + ".new"
	err := write(beside, data, l)
	if err == nil {
		err = fault.Do(l.Rename, func() error { return os.Rename(beside, path) })
	}
	if err != nil {
		_ = os.Remove(beside)
		return err
	}
	return fault.Do(l.DirSync, func() error { return syncDir(filepath.Dir(path)) })
}

func write(path string, data []byte, l Labels) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = fault.Do(l.Write, func() error { _, err := f.Write(data); return err })
	if err == nil {
		err = fault.Do(l.Sync, f.Sync)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
