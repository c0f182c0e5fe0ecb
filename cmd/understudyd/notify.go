package main

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// summaryInterval is how often the service manager's status line is renewed
// where it sets no watchdog.
const summaryInterval = 10 * time.Second

// summarizer is what is told of *supervisor.Supervisor.
type summarizer interface {
	Summary(timeout time.Duration) (string, error)
}

// tellServiceManager tells the service manager that started us, if one did, that
// we are ready, how we are, and from the end of ctx on that we stop
// (sd_notify(3)). WATCHDOG=1 is sent only when the supervisor's loop has
// answered: a supervisor that stands still is started anew. No service manager
// is no error, and one that does not listen is its own affair.
func tellServiceManager(ctx context.Context, s summarizer) {
	interval, beat := beatInterval()
	ready := daemon.SdNotifyReady
	if line, err := s.Summary(interval); err == nil {
		ready += statusLine(line)
	}
	_, _ = daemon.SdNotify(false, ready)
	beats := time.NewTicker(interval)
	defer beats.Stop()
	for {
		select {
		case <-ctx.Done():
			_, _ = daemon.SdNotify(true, daemon.SdNotifyStopping+statusLine("ending bindings and workers"))
			return
		case <-beats.C:
		}
		if line, err := s.Summary(interval); err == nil {
			_, _ = daemon.SdNotify(false, beat+statusLine(line))
		}
	}
}

// statusLine is the line that a service manager shows.
func statusLine(line string) string { return "\nSTATUS=" + line }

// beatInterval is half of the time after which the service manager's watchdog
// ends us, as sd_watchdog_enabled(3) wants it, and what it wants to hear.
func beatInterval() (interval time.Duration, beat string) {
	if limit, err := daemon.SdWatchdogEnabled(false); err == nil && limit > 0 {
		return limit / 2, daemon.SdNotifyWatchdog
	}
	return summaryInterval, ""
}
