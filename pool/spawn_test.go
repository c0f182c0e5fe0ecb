package pool

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/patterns"
)

func environmentOf(t *testing.T, m *patterns.Manifest) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, kv := range environment(m, "a-7", surroundings{instance: "i"}) {
		k, v, _ := strings.Cut(kv, "=")
		require.NotContains(t, env, k, "a name that comes twice means different things to different programs")
		env[k] = v
	}
	return env
}

// What a real program sees: one that takes the first of two would see ours.
func TestManifestWinsInARealProgram(t *testing.T) {
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("HOME", "/root")
	m := &patterns.Manifest{Name: "a", Environment: map[string]string{"TZ": "UTC", "HOME": "/manifest"}}
	for _, name := range []string{"TZ", "HOME"} {
		cmd := exec.Command("printenv", name)
		cmd.Env = environment(m, "a-7", surroundings{})
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, m.Environment[name], strings.TrimSpace(string(out)))
	}
}

func TestEnvironmentOfAWorker(t *testing.T) {
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not for workers")
	m := &patterns.Manifest{Name: "a", Heir: true, Config: map[string]string{"model": "tiny \"one\""},
		Environment: map[string]string{"MODE": "x=y", "TZ": "UTC"}}
	env := environmentOf(t, m)
	require.Equal(t, "3", env["UNDERSTUDY_CONTROL_FD"])
	require.Equal(t, "4", env["UNDERSTUDY_FENCE_FD"])
	require.Equal(t, "a", env["UNDERSTUDY_PATTERN"])
	require.Equal(t, "a-7", env["UNDERSTUDY_WORKER"])
	require.JSONEq(t, `{"model":"tiny \"one\""}`, env["UNDERSTUDY_CONFIG"])
	require.Equal(t, "x=y", env["MODE"])
	require.Equal(t, "UTC", env["TZ"], "the manifest's word counts more than ours")
	require.NotContains(t, env, "AWS_SECRET_ACCESS_KEY")

	m.Heir = false
	require.NotContains(t, environmentOf(t, m), "UNDERSTUDY_FENCE_FD")
}
