package worker_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnvironmentMisused(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"by hand":       {nil, "understudy launch PATTERN"},
		"no number":     {[]string{"UNDERSTUDY_CONTROL_FD=three"}, `UNDERSTUDY_CONTROL_FD: "three" is no descriptor`},
		"no descriptor": {[]string{"UNDERSTUDY_CONTROL_FD=77"}, "UNDERSTUDY_CONTROL_FD: descriptor 77: bad file descriptor"},
		"no socket":     {[]string{"UNDERSTUDY_CONTROL_FD=0"}, "UNDERSTUDY_CONTROL_FD: control socket: "},
		"no fence":      {[]string{"UNDERSTUDY_CONTROL_FD=0", "UNDERSTUDY_FENCE_FD=-1"}, `UNDERSTUDY_FENCE_FD: "-1" is no descriptor`},
		"no config":     {[]string{"UNDERSTUDY_CONTROL_FD=0", `UNDERSTUDY_CONFIG={"a":1}`}, "UNDERSTUDY_CONFIG is no JSON object of strings: "},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append([]string{asWorker + "=1"}, c.env...)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 1, exit.ExitCode())
			require.Contains(t, string(out), c.want)
			require.Regexp(t, `^[^\n]+\n$`, string(out), "one line")
		})
	}
}
