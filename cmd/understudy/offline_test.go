package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/shmregistry"
)

// understudy runs a command line and returns what it printed.
func understudy(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	err = run(t.Context(), args, &out, &errOut)
	return out.String(), errOut.String(), err
}

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func TestNoDaemonIsOneClearLine(t *testing.T) {
	addr := nobody(t)
	socket := filepath.Join(t.TempDir(), "api.sock")
	for _, args := range [][]string{
		{"launch", "echo"}, {"list"}, {"status"}, {"status", "ns:a:echo"}, {"terminate", "ns:a:echo"},
		{"pools"}, {"watch"}, {"events"}, {"kill", "ns:a:echo"}, {"shm", "list"}, {"shm", "sweep"},
	} {
		for addr, reason := range map[string]string{addr: "connection refused", "unix://" + socket: "no such file or directory"} {
			stdout, stderr, err := understudy(t, append(args, "--addr", addr)...)
			require.EqualError(t, err, "no understudyd answers at "+addr+": "+reason+"; --addr or UNDERSTUDY_ADDR name another address", "%v", args)
			require.Empty(t, stdout+stderr, "%v", args)
		}
	}
}

func TestAddressComesFromTheEnvironment(t *testing.T) {
	addr := nobody(t)
	t.Setenv(addrEnv, addr)
	_, _, err := understudy(t, "list")
	require.ErrorContains(t, err, "no understudyd answers at "+addr)
}

func TestWrongArguments(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"lanch"}, `unknown command "lanch" for "understudy"`},
		{[]string{"launch"}, "accepts 1 arg(s), received 0"},
		{[]string{"launch", "echo", "--isolation", "tenant"}, `--isolation: "tenant" is none of none, namespace, session`},
		{[]string{"launch", "echo", "--config", "novalue"}, `invalid argument "novalue" for "--config" flag: novalue must be formatted as key=value`},
		{[]string{"launch", "echo", "--grace", "1500ms"}, "--grace: 1.5s is not a whole number of seconds"},
		{[]string{"kill", "x", "--signal", "SPLAT"}, `--signal: "SPLAT" is no signal; give a name such as KILL or a number from 1 to 64`},
		{[]string{"kill", "x", "--signal", "65"}, `--signal: "65" is no signal; give a name such as KILL or a number from 1 to 64`},
		{[]string{"list", "--frobnicate"}, "unknown flag: --frobnicate"},
	} {
		stdout, stderr, err := understudy(t, tt.args...)
		require.ErrorContains(t, err, tt.want)
		require.Empty(t, stdout+stderr, "no usage dump")
	}
}

func TestSignalsByNameAndNumber(t *testing.T) {
	for name, want := range map[string]int{"KILL": 9, "sigterm": 15, "Segv": 11, "6": 6, "64": 64} {
		sig, err := parseSignal(name)
		require.NoError(t, err)
		require.Equal(t, want, int(sig), name)
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		stdout, _, err := understudy(t, "completion", shell)
		require.NoError(t, err)
		require.Contains(t, stdout, "understudy")
	}
}

// Completing without a daemon offers nothing and says so to the shell.
func TestCompletingWithoutADaemon(t *testing.T) {
	stdout, _, err := understudy(t, "__complete", "--addr", nobody(t), "status", "")
	require.NoError(t, err)
	require.Equal(t, ":1\n", stdout) // cobra.ShellCompDirectiveError
}

// tree writes files below a new directory and returns it.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

func TestValidate(t *testing.T) {
	dir := tree(t, map[string]string{
		"config.yaml":          "launcher:\n  grpc_port: 0\n",
		"wrong.yaml":           "launcher:\n  grpc_port: many\n",
		"p/good/manifest.yaml": "name: good\nprogram: sh\n",
		"p/bad/manifest.yaml":  "name: bad\nprogram: sh\nspares: {min: -1}\n",
		"q/good/manifest.yaml": "name: good\nprogram: sh\n",
	})
	in := func(name string) string { return filepath.Join(dir, name) }

	stdout, stderr, err := understudy(t, "validate", "--config", in("config.yaml"), "--patterns-dir", in("q"))
	require.NoError(t, err)
	require.Equal(t, in("config.yaml")+" ok\n"+in("q/good/manifest.yaml")+" ok\n", stdout)
	require.Empty(t, stderr)

	stdout, stderr, err = understudy(t, "validate", "--patterns-dir", in("p"))
	require.EqualError(t, err, "1 of 2 files is not valid")
	require.Equal(t, in("p/good/manifest.yaml")+" ok\n", stdout)
	require.Equal(t, in("p/bad/manifest.yaml")+":3: spares.min: -1 is not between 0 and 1000\n", stderr)

	_, stderr, err = understudy(t, "validate", "--config", in("wrong.yaml"), in("p/bad/manifest.yaml"))
	require.EqualError(t, err, "2 of 2 files are not valid")
	require.Contains(t, stderr, in("wrong.yaml")+`:2: launcher.grpc_port: must be a whole number, not "many"`)

	_, _, err = understudy(t, "validate", "--patterns-dir", dir)
	require.EqualError(t, err, "no manifests in "+dir)

	stdout, stderr, err = understudy(t, "validate", "--json", in("p/good/manifest.yaml"), in("p/bad/manifest.yaml"))
	require.Error(t, err)
	require.Empty(t, stderr)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	require.Len(t, lines, 2)
	var v verdict
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &v))
	require.Equal(t, verdict{File: in("p/good/manifest.yaml"), Pattern: "good", OK: true}, v)
	v = verdict{}
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &v))
	require.False(t, v.OK)
	require.Contains(t, v.Error, "spares.min")
}

func TestSegmentsAreListedWithoutADaemon(t *testing.T) {
	dir := t.TempDir()
	r, err := shmregistry.Open(shmregistry.Config{StateDir: dir})
	require.NoError(t, err)
	for _, binding := range []string{"ns:a:echo", "ns:b:echo"} {
		_, err = r.Prepare(binding, 1, []shmregistry.Spec{{Name: "state", Size: 3 << 20, OnDeath: shmregistry.Handover}})
		require.NoError(t, err)
	}
	require.NoError(t, r.Close())
	out, _, err := understudy(t, "shm", "list", "ns:a:echo", "--state-dir", dir)
	require.NoError(t, err)
	require.Regexp(t, `(?m)^ns:a:echo +state +3MiB +handover +prepared +1 `, out)
	require.NotContains(t, out, "ns:b:echo")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "segments.json"), []byte(`{"version": 1, "inst`), 0o600))
	_, _, err = understudy(t, "shm", "list", "--state-dir", dir)
	require.ErrorContains(t, err, filepath.Join(dir, "segments.json"))
	_, _, err = understudy(t, "shm", "list", "--state-dir", filepath.Join(dir, "nowhere"))
	require.ErrorContains(t, err, "no such file")
}
