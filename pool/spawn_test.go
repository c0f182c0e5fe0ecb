package pool

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/patterns"
)

func environmentOf(m *patterns.Manifest) map[string]string {
	env := map[string]string{}
	for _, kv := range environment(m, "a-7") {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	return env
}

func TestEnvironmentOfAWorker(t *testing.T) {
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not for workers")
	m := &patterns.Manifest{Name: "a", Heir: true, Config: map[string]string{"model": "tiny \"one\""},
		Environment: map[string]string{"MODE": "x=y", "TZ": "UTC"}}
	env := environmentOf(m)
	require.Equal(t, "3", env["UNDERSTUDY_CONTROL_FD"])
	require.Equal(t, "4", env["UNDERSTUDY_FENCE_FD"])
	require.Equal(t, "a", env["UNDERSTUDY_PATTERN"])
	require.Equal(t, "a-7", env["UNDERSTUDY_WORKER"])
	require.JSONEq(t, `{"model":"tiny \"one\""}`, env["UNDERSTUDY_CONFIG"])
	require.Equal(t, "x=y", env["MODE"])
	require.Equal(t, "UTC", env["TZ"], "the manifest's word counts more than ours")
	require.NotContains(t, env, "AWS_SECRET_ACCESS_KEY")

	m.Heir = false
	require.NotContains(t, environmentOf(m), "UNDERSTUDY_FENCE_FD")
}
