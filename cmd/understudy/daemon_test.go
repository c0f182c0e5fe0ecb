package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fields runs a command line with --json and returns what it printed.
func fields(t *testing.T, args ...string) map[string]any {
	t.Helper()
	stdout, _, err := understudy(t, append(args, "--json")...)
	require.NoError(t, err, "%v", args)
	require.Equal(t, 1, strings.Count(stdout, "\n"), "one line: %s", stdout)
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(stdout), &v), stdout)
	return v
}

// says runs a command line that must succeed and returns its lines.
func says(t *testing.T, args ...string) []string {
	t.Helper()
	stdout, stderr, err := understudy(t, args...)
	require.NoError(t, err, "%v", args)
	require.Empty(t, stderr)
	return strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
}

func TestTheLifeOfABinding(t *testing.T) {
	startDaemon(t)
	said := says(t, "launch", "good", "--wait-standby", "--namespace", "a", "--config", "k=v", "--config", "l=w")
	require.Len(t, said, 1)
	id, address, _ := strings.Cut(said[0], " answers at ")
	require.Equal(t, "ns:a:good", id)
	accepts(t, address)

	launched := fields(t, "launch", "good", "--session", "s", "--isolation", "session")
	require.Equal(t, "session:s:good", launched["process_id"])
	require.Equal(t, "STATE_RUNNING", launched["state"])

	rows := says(t, "list")
	require.Equal(t, []string{"PATTERN", "PROCESS", "ID", "STATE", "HEALTHY", "UPTIME", "PID", "EPOCH", "ADDRESS"}, strings.Fields(rows[0]))
	require.Len(t, rows, 3)
	row := strings.Fields(rows[1])
	require.Equal(t, []string{"good", "ns:a:good", "active", "yes"}, row[:4])
	require.Equal(t, address, row[7])

	status := strings.Join(says(t, "status", "ns:a:good"), "\n")
	require.Regexp(t, `(?m)^namespace +a$`, status)
	require.Regexp(t, `(?m)^standby +(yes|no)$`, status)
	require.Regexp(t, `(?m)^epoch +1$`, status)
	require.Regexp(t, `(?m)^config +k=\(hidden\) l=\(hidden\)$`, status, "the values may be secrets")
	status = strings.Join(says(t, "status", "ns:a:good", "--show-config"), "\n")
	require.Regexp(t, `(?m)^config +k=v l=w$`, status)

	pools := says(t, "pools")
	require.Regexp(t, `^PATTERN +SPARES +STANDBY +STARTING +ACTIVE`, pools[0])
	require.Regexp(t, `^good +1..2 `, pools[len(pools)-1])

	daemon := fields(t, "status")
	require.EqualValues(t, 2, daemon["bindings"])
	require.Contains(t, strings.Join(says(t, "status"), "\n"), "death source")

	require.Len(t, says(t, "shm", "list"), 1, "the head alone")
	require.Equal(t, "0 segments would be removed", says(t, "shm", "sweep", "--dry-run")[1])

	for command, want := range map[string]string{"terminate": "ns:a:good\nsession:s:good\n:4\n", "launch": "broken\ngood\n:4\n"} {
		offered, _, err := understudy(t, "__complete", command, "")
		require.NoError(t, err)
		require.Equal(t, want, offered) // 4 is cobra.ShellCompDirectiveNoFileComp
	}

	require.Equal(t, []string{"ns:a:good is terminated"}, says(t, "terminate", "ns:a:good", "--grace", "3s"))
	require.Equal(t, true, fields(t, "terminate", "session:s:good", "--force")["success"])
	require.Len(t, says(t, "list"), 1, "the head alone")
}

func TestErrorsAreOneLineOnStderr(t *testing.T) {
	startDaemon(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"launch", "nope", "--namespace", "a"}, `understudy: unknown pattern "nope"`},
		{[]string{"launch", "good"}, "understudy: namespace: must not be empty at this isolation level"},
		{[]string{"launch", "broken", "--namespace", "a"}, "cannot find my model"},
		{[]string{"status", "ns:x:good"}, `understudy: unknown process id "ns:x:good"`},
		{[]string{"terminate", "ns:x:good"}, `understudy: unknown process id "ns:x:good"`},
		{[]string{"kill", "ns:x:good"}, `understudy: unknown process id "ns:x:good"`},
		{[]string{"lst"}, `understudy: unknown command "lst" for "understudy" Did you mean this? list`},
	} {
		cmd := exec.Command(exe, tt.args...)
		cmd.Env = append(os.Environ(), asClient+"=1", "GORACE=atexit_sleep_ms=0")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		var exit *exec.ExitError
		require.True(t, errors.As(cmd.Run(), &exit), tt.args)
		require.Equal(t, 1, exit.ExitCode())
		require.Empty(t, stdout.String())
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
		require.True(t, strings.HasPrefix(stderr.String(), "understudy: "), stderr.String())
		require.Contains(t, stderr.String(), tt.want)
	}
}

// follow runs a streaming command line and returns its lines as they come; the
// function it returns interrupts it, as Ctrl-C would.
func follow(t *testing.T, args ...string) (lines func() string, interrupt func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, args, w, io.Discard)
		w.Close()
	}()
	stream := bufio.NewReader(r)
	lines = func() string {
		line, err := stream.ReadString('\n')
		require.NoError(t, err)
		return strings.TrimSuffix(line, "\n")
	}
	interrupt = func() {
		cancel()
		_, _ = io.Copy(io.Discard, r)
		require.NoError(t, <-ended)
	}
	return lines, interrupt
}

func TestAKillIsSeenInBothStreams(t *testing.T) {
	startDaemon(t)
	says(t, "launch", "good", "--wait-standby", "--namespace", "a")
	routes, endRoutes := follow(t, "watch")
	defer endRoutes()
	updates, endUpdates := follow(t, "watch", "--pattern", "good", "--json")
	defer endUpdates()
	events, endEvents := follow(t, "events", "--json")
	defer endEvents()
	require.Regexp(t, `^\d\d:\d\d:\d\d\.\d\d\d  is         ns:a:good  active  epoch 1  pid \d+  unix:///\S+$`, routes())
	require.Contains(t, updates(), `{"full":true,"routes":[{"process_id":"ns:a:good"`)

	event := func() map[string]any {
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(events()), &e))
		return e
	}
	// The subscription to events is known to stand when one has come.
	came := make(chan struct{})
	var ring sync.WaitGroup
	ring.Go(func() {
		for {
			_ = run(t.Context(), []string{"launch", "good", "--namespace", "bell"}, io.Discard, io.Discard)
			_ = run(t.Context(), []string{"terminate", "ns:bell:good", "--force"}, io.Discard, io.Discard)
			select {
			case <-came:
				return
			default:
			}
		}
	})
	event()
	close(came)
	ring.Wait()

	killed := fields(t, "kill", "ns:a:good", "--signal", "segv")
	require.NotZero(t, killed["pid"])
	line := routes()
	for !strings.Contains(line, "ns:a:good  active") { // the bell's, or waiting for a spare that the bell took
		line = routes()
	}
	require.Regexp(t, `  failover   ns:a:good  active  epoch 2  pid \d+  unix:///\S+  \d+\.\d\d ms after the death$`, line)
	e := event()
	for e["kind"] != "failover" || e["process_id"] != "ns:a:good" {
		e = event()
	}
	require.Equal(t, "2", e["epoch"], "64-bit numbers are strings in protojson")
}

func TestTimeoutIsOneClearLine(t *testing.T) {
	startDaemon(t)
	begun := time.Now()
	_, _, err := understudy(t, "launch", "broken", "--namespace", "a", "--timeout", "1ms")
	require.Error(t, err)
	require.Contains(t, err.Error(), "within 1ms")
	require.Less(t, time.Since(begun), 5*time.Second)
}
