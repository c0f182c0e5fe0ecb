package main

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"os"

	"understudy/bench/vm/plan"
)

// bringBack writes all that lies in plan.Out to the disk, as a tar: the host
// needs no file system to read it.
func bringBack() (err error) {
	disk, err := os.OpenFile(plan.Disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, disk.Close()); err != nil {
			err = fmt.Errorf("bring back %s: %w", plan.Out, err)
		}
	}()
	buffer := bufio.NewWriterSize(disk, 1<<20)
	archive := tar.NewWriter(buffer)
	if err := archive.AddFS(os.DirFS(plan.Out)); err != nil {
		return err
	}
	return errors.Join(archive.Close(), buffer.Flush(), disk.Sync())
}
