package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/internal/pace"
	"understudy/shmregistry"
	"understudy/supervisor/config"
)

// configFile writes a configuration file and returns its path.
func configFile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestDefaultIsValid(t *testing.T) {
	require.NoError(t, config.Default().Validate())
}

func TestLoadKeepsDefaults(t *testing.T) {
	want := config.Default()
	var err error
	want.PatternsDir, err = filepath.Abs("patterns")
	require.NoError(t, err)
	for _, text := range []string{"", "launcher:\n  grpc_port: -1\n", "launcher: {}\n"} {
		got, err := config.Load(configFile(t, text))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestLoadReadsEverything(t *testing.T) {
	slow, err := pace.Off(pace.Demote)
	require.NoError(t, err)
	want := config.Config{
		GRPCPort: 0, API: config.API{Group: "staff", Mode: 0o660},
		PatternsDir: "/p", DefaultIsolation: "session", RuntimeDir: "/r", StateDir: "/s",
		ProcessManager: config.ProcessManager{ResyncInterval: time.Minute,
			BackoffPeriod: config.BackoffPeriod{Min: time.Second, Max: 2 * time.Second}, MaxConcurrentStarts: 9,
			StopTimeout: 10 * time.Second},
		Limits: config.Limits{Bindings: 1, BindingsPerNamespace: 2, Workers: 3, Watchers: 4, WaitingLaunches: 5},
		Pace:   slow, Cgroups: false,
		Segments: shmregistry.Limits{Segment: 1 << 20, Binding: 2 << 20, Total: 3 << 20},
		Sentinel: config.Sentinel{Source: "pidfd"}, MetricsPort: -1, HealthPort: 77,
	}
	for _, others := range []string{"", "  "} { // beside launcher, and in it
		c, err := config.Load(configFile(t, `
launcher:
  grpc_port: 0
  api: {group: staff, mode: "0660"}
  patterns_dir: /p
  default_isolation: session
  runtime_dir: /r
  state_dir: /s
  process_manager:
    resync_interval: 1m
    backoff_period: {min: 1s, max: 2s}
    max_concurrent_starts: 9
    stop_timeout: 10s
  limits: {bindings: 1, bindings_per_namespace: 2, workers: 3, watchers: 4, waiting_launches: 5}
  pace: {`+pace.Demote+`: false}
  cgroups: false
  deep_queues: false
  segments: {per_segment: 1MiB, per_binding: 2MiB, total: 3MiB}
`+others+`sentinel: {realtime: false, source: pidfd}
`+others+`metrics: {port: -1}
`+others+`health: {port: 77}
`))
		require.NoError(t, err)
		require.Equal(t, want, c)
		// A field that this test forgets would pass with its default on both
		// sides: each must differ from the default.
		requireEachDiffers(t, "", reflect.ValueOf(config.Default()), reflect.ValueOf(c))
	}
}

// notInTheFile are the fields that no file sets.
var notInTheFile = map[string]bool{".SentinelExe": true}

// requireEachDiffers compares two configurations field by field.
func requireEachDiffers(t *testing.T, path string, a, b reflect.Value) {
	t.Helper()
	if a.Kind() == reflect.Struct && a.NumField() > 0 && a.Type().Field(0).IsExported() {
		for i := range a.NumField() {
			requireEachDiffers(t, path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
		return
	}
	if !notInTheFile[path] {
		require.NotEqual(t, fmt.Sprint(a), fmt.Sprint(b), "%s is not set by the file of this test", path)
	}
}

func TestBackoffPeriodForms(t *testing.T) {
	for form, want := range map[string]config.BackoffPeriod{
		"1s":                     {Min: time.Second, Max: 64 * time.Second},
		"10s":                    {Min: 10 * time.Second, Max: 5 * time.Minute},
		"10m":                    {Min: 10 * time.Minute, Max: 10 * time.Minute},
		"{min: 1s}":              {Min: time.Second, Max: 64 * time.Second},
		"{max: 1m}":              {Min: 100 * time.Millisecond, Max: time.Minute},
		"{min: 50ms, max: 1m}":   {Min: 50 * time.Millisecond, Max: time.Minute},
		"{min: 50ms, max: 50ms}": {Min: 50 * time.Millisecond, Max: 50 * time.Millisecond},
	} {
		c, err := config.Load(configFile(t, "launcher: {process_manager: {backoff_period: "+form+"}}\n"))
		require.NoError(t, err, form)
		require.Equal(t, want, c.ProcessManager.BackoffPeriod, form)
	}
}

func TestLoadNamesFileLineAndField(t *testing.T) {
	long := "/" + strings.Repeat("x", config.MaxRuntimeDir)
	for _, tt := range []struct{ name, text, want string }{
		{"unknown root", "lancher: {}\n", ":1: lancher: unknown field; known are health, launcher, metrics, sentinel"},
		{"unknown field", "launcher:\n  port: 1\n", ":2: launcher.port: unknown field; known are api, cgroups, deep_queues, default_isolation, grpc_port, health, limits, metrics, pace, patterns_dir, process_manager, runtime_dir, segments, sentinel, state_dir"},
		{"unknown field below", "launcher:\n  process_manager:\n    resync: 1s\n", ":3: launcher.process_manager.resync: unknown field; known are backoff_period, max_concurrent_starts, resync_interval, stop_timeout"},
		{"wrong type", "launcher:\n  grpc_port: here\n", `:2: launcher.grpc_port: must be a whole number, not "here"`},
		{"port quoted", "launcher:\n  grpc_port: \"80\"\n", `:2: launcher.grpc_port: must be a whole number, not "80"`},
		{"port too high", "launcher:\n  grpc_port: 65536\n", ":2: launcher.grpc_port: 65536 is not between -1 and 65535"},
		{"port too low", "launcher:\n  grpc_port: -2\n", ":2: launcher.grpc_port: -2 is not between -1 and 65535"},
		{"metrics port", "metrics:\n  port: -2\n", ":2: metrics.port: -2 is not between -1 and 65535"},
		{"metrics port in launcher", "launcher:\n  metrics:\n    port: -2\n", ":3: launcher.metrics.port: -2 is not between -1 and 65535"},
		{"given twice", "metrics: {port: 1}\nlauncher:\n  metrics: {port: 2}\n", ":1: metrics: is given beside launcher and in it"},
		{"one port for two", "launcher:\n  grpc_port: 7000\nhealth:\n  port: 7000\n", ":4: health.port: 7000 is grpc_port as well"},
		{"isolation", "launcher:\n  default_isolation: tenant\n", `:2: launcher.default_isolation: "tenant" is none of none, namespace, session`},
		{"no patterns", "launcher:\n  patterns_dir: \"\"\n", ":2: launcher.patterns_dir: must not be empty"},
		{"runtime dir too long", "launcher:\n  runtime_dir: " + long + "\n", `:2: launcher.runtime_dir: "` + long + `" is 74 bytes long; at most 73 leave room for socket names`},
		{"duration without unit", "launcher:\n  process_manager:\n    resync_interval: 30\n", `:3: launcher.process_manager.resync_interval: "30" has no unit; write a duration such as 10s`},
		{"resync too often", "launcher:\n  process_manager:\n    resync_interval: 1ms\n", ":3: launcher.process_manager.resync_interval: 1ms is not between 100ms and 1h0m0s"},
		{"backoff zero", "launcher:\n  process_manager:\n    backoff_period: 0\n", ":3: launcher.process_manager.backoff_period.min: 0s is not between 1ms and 1h0m0s"},
		{"backoff upside down", "launcher:\n  process_manager:\n    backoff_period:\n      min: 2s\n      max: 1s\n", ":5: launcher.process_manager.backoff_period.max: 1s is not between 2s and 1h0m0s"},
		{"no starts", "launcher:\n  process_manager: {max_concurrent_starts: 0}\n", ":2: launcher.process_manager.max_concurrent_starts: 0 is not between 1 and 1000"},
		{"realtime", "sentinel: {realtime: 1}\n", `:1: sentinel.realtime: must be true or false, not "1"`},
		{"source", "sentinel: {source: rumour}\n", `:1: sentinel.source: "rumour" is none of auto, kernel, connector, pidfd`},
		{"not YAML", "launcher: {\n", ":2: not YAML: did not find expected node content"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := configFile(t, tt.text)
			_, err := config.Load(file)
			require.EqualError(t, err, file+tt.want)
		})
	}
}

func TestLoadMissingFile(t *testing.T) {
	_, err := config.Load("/nowhere/understudy.yaml")
	require.EqualError(t, err, "open /nowhere/understudy.yaml: no such file or directory")
}

func TestValidateWantsAbsolutePaths(t *testing.T) {
	c := config.Default()
	c.RuntimeDir = "run"
	require.EqualError(t, c.Validate(), `runtime_dir: "run" must be an absolute path`)
}

// Whatever a file holds, Load returns a valid configuration or one line
// that begins with the file's name.
func FuzzLoad(f *testing.F) {
	file := filepath.Join(f.TempDir(), "understudy.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(file, data, 0o600))
		c, err := config.Load(file)
		if err != nil {
			require.True(t, strings.HasPrefix(err.Error(), file+":"), err.Error())
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.NoError(t, c.Validate())
	})
}
