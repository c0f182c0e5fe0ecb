package supervisor_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"understudy/worker"
)

// tallyEnv makes the test binary a worker that keeps count in shared memory.
const tallyEnv = "SUPERVISOR_TEST_TALLY"

// tally counts its requests in the segment "state", a line each: "count" is
// answered by pid, epoch and count. "leave NAME" makes an object of shared
// memory that nobody declared.
func tally() error {
	return worker.Run(context.Background(), worker.Pattern{
		Serve: func(ctx context.Context, a *worker.Assignment) error {
			cell, err := a.Segments["state"].Cell(a.Epoch, 8)
			if err != nil {
				return err
			}
			copy(a.Segments["scratch"].Data(), a.ProcessID)
			context.AfterFunc(ctx, func() { a.Listener().Close() })
			for {
				c, err := a.Listener().Accept()
				if err != nil {
					return err
				}
				line, err := bufio.NewReader(c).ReadString('\n')
				if err != nil {
					c.Close()
					continue
				}
				if name, ok := strings.CutPrefix(strings.TrimSpace(line), "leave "); ok {
					if err := leave(name); err != nil {
						return err
					}
				}
				was, _ := cell.Current()
				n := binary.LittleEndian.Uint64(was) + 1
				binary.LittleEndian.PutUint64(cell.Next(), n)
				if err := cell.Commit(); err != nil {
					return err
				}
				fmt.Fprintf(c, "%d %d %d\n", os.Getpid(), a.Epoch, n)
				c.Close()
			}
		},
	})
}

// leave makes an object and keeps no more than its mapping.
func leave(name string) error {
	f, err := os.OpenFile("/dev/shm/"+name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		return err
	}
	_, err = unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return err
}

// count asks a tally and returns what it says. Whoever asks while its worker
// dies asks again.
func (d *daemon) count(address, request string) (pid int, epoch, n uint64) {
	d.t.Helper()
	d.eventually(func() error {
		c, err := net.Dial("unix", strings.TrimPrefix(address, "unix://"))
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := fmt.Fprintln(c, request); err != nil {
			return err
		}
		_, err = fmt.Fscan(c, &pid, &epoch, &n)
		return err
	})
	return pid, epoch, n
}
