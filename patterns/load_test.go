package patterns_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"understudy/patterns"
	"understudy/shmregistry"
	"understudy/shmregistry/leak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pattern writes a folder echo with an executable "run", a file "data", a folder
// "sub" and the manifest, and returns the manifest's path.
func pattern(t testing.TB, manifest string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "echo")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\n"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), nil, 0o644))
	file := filepath.Join(dir, patterns.ManifestName)
	require.NoError(t, os.WriteFile(file, []byte(manifest), 0o644))
	return file
}

func TestLoadFillsInDefaults(t *testing.T) {
	file := pattern(t, "name: echo\nprogram: ./run\n")
	m, err := patterns.Load(file)
	require.NoError(t, err)
	dir := filepath.Dir(file)
	require.Equal(t, &patterns.Manifest{
		Name: "echo", Dir: dir, File: file, Program: filepath.Join(dir, "run"),
		Contract: "sdk", SessionScope: "session", Listen: "unix", Endpoint: patterns.Endpoint{Backlog: 65535},
		OnFailure: "queue", QueueTimeout: 30 * time.Second, Heir: true, Adopt: leak.Never,
		Environment: map[string]string{}, Config: map[string]string{},
		Spares:       patterns.Spares{Min: 1, Max: 2},
		StartTimeout: 10 * time.Second, GracePeriod: 5 * time.Second,
		Probe:       patterns.Probe{Interval: time.Second, Timeout: 2 * time.Second, Failures: 1},
		CrashBudget: patterns.CrashBudget{Max: 20, Window: 10 * time.Second},
	}, m)
}

func TestLoadReadsEverything(t *testing.T) {
	m, err := patterns.Load(pattern(t, `
name: echo
program: sh
args: [-c, 'exit 0', 8080]
contract: sdk
isolation: session
listen: tcp
environment: {MODE: fast, LEVEL: 3}
config:
  warmup_ms: 200
  label: "a b"
  exact: 1.50
  on: true
spares: {min: 3}
start_timeout: 1m30s
grace_period: 0
probe: {interval: 0, timeout: 10ms, failures: 7}
session_scope: namespace_session
endpoint: {backlog: 7, mode: "0660", owner: root, group: "12"}
on_failure: refuse
queue_timeout: 1m
oom_score_adj: -5
crash_budget: {max: 0, window: 1m}
heir: false
`))
	require.NoError(t, err)
	require.True(t, filepath.IsAbs(m.Program), m.Program)
	require.Equal(t, []string{"-c", "exit 0", "8080"}, m.Args)
	require.Equal(t, "session", m.Isolation)
	require.Equal(t, "tcp", m.Listen)
	require.Equal(t, map[string]string{"MODE": "fast", "LEVEL": "3"}, m.Environment)
	require.Equal(t, map[string]string{"warmup_ms": "200", "label": "a b", "exact": "1.50", "on": "true"}, m.Config)
	require.Equal(t, patterns.Spares{Min: 3, Max: 3}, m.Spares)
	require.Equal(t, 90*time.Second, m.StartTimeout)
	require.False(t, m.Heir)
	require.Zero(t, m.GracePeriod)
	require.Equal(t, patterns.Probe{Interval: 0, Timeout: 10 * time.Millisecond, Failures: 7}, m.Probe)
	require.Equal(t, patterns.ScopeNamespaceSession, m.SessionScope)
	require.Equal(t, patterns.Endpoint{Backlog: 7, Mode: 0o660, Owner: "root", Group: "12"}, m.Endpoint)
	require.Equal(t, patterns.OnFailureRefuse, m.OnFailure)
	require.Equal(t, time.Minute, m.QueueTimeout)
	require.Equal(t, -5, m.OOMScoreAdj)
	require.Equal(t, patterns.CrashBudget{Max: 0, Window: time.Minute}, m.CrashBudget)
}

func TestLoadNamesFileLineAndField(t *testing.T) {
	const head = "name: echo\nprogram: ./run\n"
	tests := []struct {
		name, manifest string
		want           string // after "<file>"; DIR stands for the folder
	}{
		{"empty", "", ": name: must not be empty"},
		{"only null", "---\n", ": name: must not be empty"},
		{"no name", "program: ./run\n", ": name: must not be empty"},
		{"name of another folder", "name: other\nprogram: ./run\n", `:1: name: "other" must equal the folder's name, "echo"`},
		{"upper-case name", "name: Echo\nprogram: ./run\n", `:1: name: "Echo" must be a lower-case letter, then up to 62 of a-z, 0-9, _ and -`},
		{"name with a slash", "name: ../echo\nprogram: ./run\n", `:1: name: "../echo" must be a lower-case letter, then up to 62 of a-z, 0-9, _ and -`},
		{"name is a number", "name: 5\nprogram: ./run\n", `:1: name: must be a string, not "5"`},
		{"unknown field", head + "spare: 2\n", ":3: spare: unknown field; known are adopt, args, config, contract, crash_budget, endpoint, environment, grace_period, heir, isolation, listen, name, on_failure, oom_score_adj, probe, program, queue_timeout, segments, session_scope, spares, start_timeout"},
		{"segment without a size", head + "segments:\n  - {name: state, on_death: handover}\n", `:3: segments: bad segment "state": a size of 0 bytes, expected 1 or more`},
		{"segment of a negative size", head + "segments: [{name: state, size: -1KiB, on_death: handover}]\n", `:3: segments: bad segment "state": a size of -1024 bytes, expected 1 or more`},
		{"segment beyond all bounds", head + "segments: [{name: state, size: 99999999999GiB, on_death: handover}]\n", `:3: segments.[0].size: "99999999999GiB" is not a size such as 64MiB`},
		{"segment with a path", head + "segments: [{name: a/b, size: 1, on_death: handover}]\n", `:3: segments: bad segment "a/b": '/' in its name, expected a-z, 0-9, _ and - only`},
		{"segment with a long name", head + "segments: [{name: " + strings.Repeat("a", 300) + ", size: 1, on_death: handover}]\n", `:3: segments: bad segment "aaaaaaaaaaaaaaaa"…: a name of 300 bytes, expected at most 64`},
		{"segments of one name", head + "segments: [{name: a, size: 1, on_death: handover}, {name: a, size: 1, on_death: unlink}]\n", `:3: segments: bad segment: two have the name "a"`},
		{"segment policy", head + "segments:\n  - {name: a, size: 1, on_death: keep}\n", `:4: segments.[0].on_death: "keep" is none of handover, unlink`},
		{"no list of segments", head + "segments: state\n", `:3: segments: must be a list of mappings, not "state"`},
		{"what to adopt", head + "adopt: always\n", `:3: adopt: "always" is none of never, report, remove`},
		{"unknown field below", head + "spares:\n  minimum: 2\n", ":4: spares.minimum: unknown field; known are max, min"},
		{"field twice", head + "name: echo\n", ":3: name: given twice, first in line 1"},
		{"merge key", head + "spares:\n  <<: {min: 1}\n", ":4: spares.<<: unknown field; known are max, min"},
		{"list for a mapping", head + "spares: [1, 2]\n", ":3: spares: must be a mapping, not a list"},
		{"not a mapping at all", "- echo\n", ":1: must be a mapping, not a list"},
		{"not YAML", head + "args: [a\n", ":3: not YAML: did not find expected ',' or ']'"},
		{"not YAML either", head + "args: a: b\n", ":3: not YAML: mapping values are not allowed in this context"},
		{"two documents", head + "---\n" + head, ": holds more than one document"},
		{"no program", "name: echo\n", ": program: must not be empty"},
		{"program not there", "name: echo\nprogram: ./gone\n", ":2: program: DIR/gone: no such file or directory"},
		{"program not executable", "name: echo\nprogram: ./data\n", ":2: program: DIR/data is not executable: permission denied"},
		{"program is a folder", "name: echo\nprogram: ./sub\n", ":2: program: DIR/sub is a directory"},
		{"program is a device", "name: echo\nprogram: /dev/null\n", ":2: program: /dev/null is not a regular file"},
		{"program not on PATH", "name: echo\nprogram: no-such-program-here\n", `:2: program: "no-such-program-here" is not found on PATH`},
		{"args not a list", head + "args: -v\n", `:3: args: must be a list of strings, not "-v"`},
		{"args with a list", head + "args:\n- a\n- [b]\n", ":5: args.[1]: must be a string or a number, not a list"},
		{"args with nothing", head + "args: [~]\n", ":3: args.[0]: must be a string or a number, not nothing"},
		{"args with NUL", head + "args: [\"a\\0b\"]\n", ":3: args.[0]: must not contain NUL"},
		{"unknown contract", head + "contract: http\n", `:3: contract: "http" is none of sdk, env`},
		{"contract env", head + "contract: env\n", `:3: contract: "env" is not supported yet; use "sdk"`},
		{"unknown isolation", head + "isolation: tenant\n", `:3: isolation: "tenant" is none of none, namespace, session`},
		{"unknown listen", head + "listen: udp\n", `:3: listen: "udp" is none of unix, tcp`},
		{"reserved variable", head + "environment:\n  A: b\n  PROCESS_ID: x\n", ":5: environment.PROCESS_ID: is set by the supervisor and may not be set here"},
		{"our variable", head + "environment: {UNDERSTUDY_CONTROL_FD: 9}\n", ":3: environment.UNDERSTUDY_CONTROL_FD: is set by the supervisor and may not be set here"},
		{"bad variable", head + "environment: {A-B: c}\n", ":3: environment.A-B: is no name of an environment variable"},
		{"variable with =", head + "environment: {'A=B': c}\n", ":3: environment.A=B: is no name of an environment variable"},
		{"config with a mapping", head + "config:\n  a: {b: c}\n", ":4: config.a: must be a string or a number, not a mapping"},
		{"config without value", head + "config:\n  a:\n", ":4: config.a: must be a string or a number, not nothing"},
		{"config too large", head + "config:\n  a: " + strings.Repeat("x", 16<<10) + "\n", ":3: config: is 16385 bytes, at most 16384 are allowed"},
		{"spares negative", head + "spares:\n  min: -1\n", ":4: spares.min: -1 is not between 0 and 1000"},
		{"spares too many", head + "spares: {min: 1001}\n", ":3: spares.min: 1001 is not between 0 and 1000"},
		{"spares enormous", head + "spares: {min: 99999999999999999999}\n", `:3: spares.min: must be a whole number, not "99999999999999999999"`},
		{"spares past int64", head + "spares: {min: 9999999999999999999}\n", `:3: spares.min: "9999999999999999999" is not between 0 and 1000`},
		{"spares a word", head + "spares: {min: two}\n", `:3: spares.min: must be a whole number, not "two"`},
		{"spares a fraction", head + "spares: {min: 1.5}\n", `:3: spares.min: must be a whole number, not "1.5"`},
		{"spares upside down", head + "spares: {min: 3, max: 2}\n", ":3: spares: max 2 is less than min 3"},
		{"spares max below default min", head + "spares: {max: 0}\n", ":3: spares: max 0 is less than min 1"},
		{"duration without unit", head + "start_timeout: 10\n", `:3: start_timeout: "10" has no unit; write a duration such as 10s`},
		{"duration a word", head + "start_timeout: soon\n", `:3: start_timeout: "soon" is not a duration such as 10s`},
		{"duration out of range", head + "start_timeout: 1ms\n", ":3: start_timeout: 1ms is not between 10ms and 24h0m0s"},
		{"duration negative", head + "grace_period: -1s\n", ":3: grace_period: -1s is not between 0s and 10m0s"},
		{"probe timeout zero", head + "probe: {timeout: 0}\n", ":3: probe.timeout: 0s is not between 10ms and 1h0m0s"},
		{"probe too often", head + "probe: {interval: 1us}\n", ":3: probe.interval: 1µs is not 0 and less than 10ms"},
		{"crash budget", head + "crash_budget: {max: -5}\n", ":3: crash_budget.max: -5 is not between 0 and 10000"},
		{"long value", head + "listen: " + strings.Repeat("x", 300) + "\n", `:3: listen: "` + strings.Repeat("x", 64) + `" (300 bytes) is none of unix, tcp`},
		{"strange field name", head + "\"a\\nb\": 1\n", `:3: "a\nb": unknown field; known are adopt, args, config, contract, crash_budget, endpoint, environment, grace_period, heir, isolation, listen, name, on_failure, oom_score_adj, probe, program, queue_timeout, segments, session_scope, spares, start_timeout`},
		{"mapping as a field name", head + "{a: b}: 1\n", ":3: a field name must be a plain word"},
		{"too large", "# " + strings.Repeat("x", 256<<10), ": is larger than 262144 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := pattern(t, tt.manifest)
			m, err := patterns.Load(file)
			require.Nil(t, m)
			want := file + strings.ReplaceAll(tt.want, "DIR", filepath.Dir(file))
			require.EqualError(t, err, want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestLoadMissingFile(t *testing.T) {
	_, err := patterns.Load("/nowhere/manifest.yaml")
	require.EqualError(t, err, "open /nowhere/manifest.yaml: no such file or directory")
}

func TestDiscoverGoesOnPastBrokenManifests(t *testing.T) {
	dir := t.TempDir()
	write := func(name, manifest string) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, patterns.ManifestName), []byte(manifest), 0o644))
	}
	write("zebra", "name: zebra\nprogram: sh\n")
	write("broken", "name: broken\nprogram: [\n")
	write("apple", "name: apple\nprogram: sh\n")
	write("worse", "name: worse\n")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "no-pattern"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "odd", patterns.ManifestName), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), nil, 0o644))
	require.NoError(t, os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling")))

	good, bad := patterns.Discover(dir)
	var names []string
	for _, m := range good {
		names = append(names, m.Name)
	}
	require.Equal(t, []string{"apple", "zebra"}, names)
	require.Len(t, bad, 3)
	require.ErrorContains(t, bad[0], "broken/manifest.yaml:")
	require.ErrorContains(t, bad[1], "odd/manifest.yaml: is not a regular file")
	require.ErrorContains(t, bad[2], "worse/manifest.yaml: program: must not be empty")
}

func TestDiscoverMissingDirectory(t *testing.T) {
	good, bad := patterns.Discover("/nowhere")
	require.Empty(t, good)
	require.Len(t, bad, 1)
	require.EqualError(t, bad[0], "patterns directory: open /nowhere: no such file or directory")
}

// Whatever a file holds, Load returns a valid manifest or one line that begins
// with the file's name.
func FuzzLoad(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "echo")
	require.NoError(f, os.Mkdir(dir, 0o755))
	file := filepath.Join(dir, patterns.ManifestName)
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(file, data, 0o644))
		m, err := patterns.Load(file)
		if err != nil {
			require.Nil(t, m)
			require.True(t, strings.HasPrefix(err.Error(), file+":"), err.Error())
			require.NotContains(t, err.Error(), "\n")
			require.Less(t, len(err.Error()), 2000)
			return
		}
		require.Equal(t, "echo", m.Name)
		require.Equal(t, "sdk", m.Contract)
		require.LessOrEqual(t, 0, m.Spares.Min)
		require.LessOrEqual(t, m.Spares.Min, m.Spares.Max)
		require.LessOrEqual(t, m.Spares.Max, 1000)
		require.Positive(t, m.StartTimeout)
		require.Positive(t, m.Probe.Timeout)
	})
}

func ExampleLoad() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "greeter", patterns.ManifestName)
	_ = os.Mkdir(filepath.Dir(file), 0o755)
	_ = os.WriteFile(file, []byte("name: greeter\nprogram: sh\nspares: {min: 2}\n"), 0o644)

	m, err := patterns.Load(file)
	if err != nil {
		panic(err)
	}
	fmt.Println(m.Name, m.Spares.Min, m.Listen, m.StartTimeout)
	// Output: greeter 2 unix 10s
}

func TestLoadReadsSegments(t *testing.T) {
	m, err := patterns.Load(pattern(t, `name: echo
program: ./run
adopt: remove
segments:
  - {name: state, size: 64MiB, on_death: handover}
  - {name: ring, size: 4096, on_death: unlink, named: true}
`))
	require.NoError(t, err)
	require.Equal(t, leak.Remove, m.Adopt)
	require.Equal(t, []shmregistry.Spec{
		{Name: "state", Size: 64 << 20, OnDeath: shmregistry.Handover},
		{Name: "ring", Size: 4096, OnDeath: shmregistry.Unlink, Named: true},
	}, m.Segments)
}
