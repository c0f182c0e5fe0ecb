package pool

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy/internal/poll"
	"understudy/internal/procfs"
	"understudy/worker/heir"
)

// workerVariable has a worker's name, in the environment of all that it starts.
const workerVariable = "UNDERSTUDY_WORKER"

const (
	// strayRounds bounds the looks for what a dead worker left: each sees the
	// children of those that the one before has ended.
	strayRounds = 32
	// strayTimeout bounds the wait for the end of one that was killed.
	strayTimeout = time.Second
)

// endStrays ends what a dead worker left outside of its process group, where it
// had no control group. All that it left became our children when it died. Each
// has the worker's name in its environment, unless it has taken that out: then
// it is not found.
func (k *Keeper) endStrays(w *Worker) {
	if !k.cfg.Strays {
		return
	}
	known := make(map[int]bool, len(k.byPid)+len(k.heirs.pidfds)) // not to be looked at
	for pid := range k.byPid {
		known[pid] = true
	}
	for pid := range k.heirs.pidfds {
		known[pid] = true
	}
	k.groups++
	go func() {
		if n := killStrays(w.Name, known); n > 0 {
			w.log.Info("ended what a dead worker left behind", "processes", n)
		}
		k.post(func() { k.groups-- })
	}()
}

// killStrays kills and reaps every child of ours that has a worker's name in its
// environment, but those that are known, and returns how many.
func killStrays(worker string, known map[int]bool) (killed int) {
	for range strayRounds {
		fresh := false
		for _, pid := range procfs.Children() {
			if known[pid] {
				continue
			}
			if !marked(pid, worker) {
				continue
			}
			known[pid], fresh = true, true
			if killChild(pid) {
				killed++
			}
		}
		if !fresh {
			break
		}
	}
	return killed
}

// marked reports whether a process comes from a worker and is none of its heirs.
// A dead one has no environment.
func marked(pid int, worker string) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !bytes.Contains(append([]byte{0}, env...), []byte("\x00"+workerVariable+"="+worker+"\x00")) {
		return false
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && strings.TrimSuffix(string(name), "\n") != heir.Name
}

// killChild kills and reaps a child of ours. Who else reaps it does so when it
// is dead, so that its number is its own until then.
func killChild(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var info unix.Siginfo
	if unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil) != nil {
		return false // no child any more: the number may be another's
	}
	if unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return false
	}
	_, _ = poll.Wait(fd, unix.POLLIN, strayTimeout)
	_ = unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOHANG|unix.WALL, nil)
	return true
}

// known reports whether a child is a worker or an heir.
func (k *Keeper) known(pid int) bool { return k.byPid[pid] != nil || k.heirs.pidfds[pid] != nil }
