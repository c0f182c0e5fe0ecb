package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"understudy/proto/prism/launcher"
	understudyv1 "understudy/proto/understudy/v1"
	"understudy/worker/heir"
)

// Launch binds a namespace to a worker of the pattern and returns the process
// id and the address.
func (d *Daemon) Launch(ctx context.Context, namespace string) (processID, address string, err error) {
	r, err := d.launcher.LaunchPattern(ctx, &launcher.LaunchRequest{PatternName: d.cfg.Pattern.Name, Namespace: namespace,
		Isolation: launcher.IsolationLevel_ISOLATION_NAMESPACE})
	if err != nil {
		return "", "", fmt.Errorf("launch: %w; understudyd's log ends:\n%s", err, d.Log())
	}
	return r.ProcessId, r.Address, nil
}

// AwaitSpare waits until a standby stands by and none is starting.
func (d *Daemon) AwaitSpare(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	events, err := d.supervisor.WatchEvents(ctx, &understudyv1.WatchEventsRequest{})
	if err == nil {
		_, err = events.Header() // from here on no event is missed
	}
	for err == nil {
		var p *understudyv1.Pool
		if p, err = d.pool(ctx); err != nil {
			break
		}
		if p.Standby >= p.SparesMin && p.Starting == 0 {
			return nil
		}
		_, err = events.Recv()
	}
	return fmt.Errorf("waiting for a standby: %w; understudyd's log ends:\n%s", err, d.Log())
}

// Standbys is how many workers stand by now.
func (d *Daemon) Standbys(ctx context.Context) (int, error) {
	p, err := d.pool(ctx)
	if err != nil {
		return 0, err
	}
	return int(p.Standby), nil
}

// pool is that of the pattern.
func (d *Daemon) pool(ctx context.Context) (*understudyv1.Pool, error) {
	r, err := d.supervisor.ListPools(ctx, &understudyv1.ListPoolsRequest{})
	if err != nil {
		return nil, fmt.Errorf("pools: %w", err)
	}
	for _, p := range r.Pools {
		if p.Pattern == d.cfg.Pattern.Name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("understudyd has no pool of the pattern %q", d.cfg.Pattern.Name)
}

// RouteAfter returns the binding's route as soon as a worker is active with an
// epoch above the one given.
func (d *Daemon) RouteAfter(ctx context.Context, processID string, epoch uint64) (*understudyv1.Route, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	routes, err := d.supervisor.WatchRoutes(ctx, &understudyv1.WatchRoutesRequest{})
	for err == nil {
		var u *understudyv1.RoutesUpdate
		if u, err = routes.Recv(); err != nil {
			break
		}
		for _, r := range u.Routes {
			if r.ProcessId == processID && r.Epoch > epoch && r.State == understudyv1.RouteState_ROUTE_STATE_ACTIVE {
				return r, nil
			}
		}
	}
	return nil, fmt.Errorf("waiting for the route of %s after epoch %d: %w", processID, epoch, err)
}

// Features says in one line how it notices deaths.
func (d *Daemon) Features(ctx context.Context) (string, error) {
	s, err := d.supervisor.GetStatus(ctx, &understudyv1.GetStatusRequest{})
	if err != nil {
		return "", fmt.Errorf("status: %w", err)
	}
	var words []string
	for _, f := range s.Features {
		words = append(words, f.Name+": "+f.InUse)
	}
	return strings.Join(words, ", "), nil
}

// Funeral waits for the end of a worker that is about to be killed.
type Funeral struct {
	victim int
	heirs  []int
}

// Attend is called before the kill.
func (d *Daemon) Attend(victim int) (*Funeral, error) {
	fd, err := unix.PidfdOpen(victim, 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd of worker %d: %w", victim, err)
	}
	f := &Funeral{victim: fd}
	for _, pid := range d.heirs() {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			f.heirs = append(f.heirs, fd)
		}
	}
	return f, nil
}

// Kill sends the victim a signal.
func (f *Funeral) Kill(sig unix.Signal) error { return unix.PidfdSendSignal(f.victim, sig, nil, 0) }

// Await waits until the victim is dead and its memory is free: until one heir
// more has ended, where there are any. Every heir but the victim's lives on.
func (f *Funeral) Await(ctx context.Context) error {
	if err := awaitOne(ctx, []int{f.victim}); err != nil {
		return fmt.Errorf("waiting for the end of the killed worker: %w", err)
	}
	if len(f.heirs) == 0 {
		return nil
	}
	if err := awaitOne(ctx, f.heirs); err != nil {
		return fmt.Errorf("waiting for the end of the killed worker's heir: %w", err)
	}
	return nil
}

// Close gives up what Attend took.
func (f *Funeral) Close() {
	for _, fd := range append(f.heirs, f.victim) {
		unix.Close(fd)
	}
}

// awaitOne waits for the end of any of the processes. The goroutine that waits
// in the kernel is woken by a pipe at the end of ctx.
func awaitOne(ctx context.Context, pidfds []int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	defer context.AfterFunc(ctx, func() { _, _ = w.Write([]byte{0}) })()
	fds := []unix.PollFd{{Fd: int32(r.Fd()), Events: unix.POLLIN}}
	for _, fd := range pidfds {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, fd := range fds[1:] {
			if fd.Revents != 0 {
				return nil
			}
		}
	}
}

// heirs are the children of understudyd that are heirs and alive.
func (d *Daemon) heirs() []int {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	var pids []int
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// pid (comm) state ppid ... (proc_pid_stat(5))
		head, tail, ok := strings.Cut(string(b), " ("+heir.Name+") ")
		fields := strings.Fields(tail)
		if !ok || len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(d.Pid()) {
			continue
		}
		if pid, err := strconv.Atoi(head); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
