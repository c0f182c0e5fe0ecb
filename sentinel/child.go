package sentinel

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/poll"
)

// child is a process made to die, for trying out a death source.
type child struct {
	pid, pidfd int
	pipe       int // our end of its stdin and stdout
}

// startChild starts one from the image and waits until it is ready.
func startChild(image *os.File, patience time.Duration) (*child, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	defer unix.Close(pair[1])
	c := &child{pipe: pair[0], pidfd: -1}
	c.pid, err = syscall.ForkExec(fmt.Sprintf("/proc/self/fd/%d", image.Fd()), []string{"understudy-probe"},
		&syscall.ProcAttr{
			Dir:   "/",
			Env:   []string{},
			Files: []uintptr{uintptr(pair[1]), uintptr(pair[1])},
			Sys:   &syscall.SysProcAttr{Setpgid: true, PidFD: &c.pidfd},
		})
	if err != nil {
		unix.Close(c.pipe)
		return nil, fmt.Errorf("start: %w", err)
	}
	if c.pidfd < 0 {
		c.end()
		return nil, fmt.Errorf("start: this kernel gives no pidfd")
	}
	if !readable(c.pipe, patience) {
		c.end()
		return nil, fmt.Errorf("not ready after %v", patience)
	}
	return c, nil
}

// exit has it call exit_group(2).
func (c *child) exit() { _ = unix.Shutdown(c.pipe, unix.SHUT_WR) }

func (c *child) kill(s unix.Signal) { _ = unix.Kill(c.pid, s) }

// end kills it if it lives, reaps it and lets go of it.
func (c *child) end() {
	c.kill(unix.SIGKILL)
	for {
		if _, err := unix.Wait4(c.pid, nil, unix.WALL, nil); err != unix.EINTR {
			break
		}
	}
	if c.pidfd >= 0 {
		unix.Close(c.pidfd)
	}
	unix.Close(c.pipe)
}

// readable waits for a descriptor.
func readable(fd int, patience time.Duration) bool {
	ready, err := poll.Wait(fd, unix.POLLIN, patience)
	return err == nil && ready != 0
}
