package scratch_test

import (
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"understudy/bench/internal/role"
	"understudy/bench/internal/scratch"
)

func TestMain(m *testing.M) {
	role.Play(role.Roles{"wait": func() error { role.AwaitEnd(); return nil }})
	goleak.VerifyTestMain(m)
}

func TestCloseLeavesNothing(t *testing.T) {
	dir, err := scratch.New()
	require.NoError(t, err)
	in, err := os.Open("/proc/self/exe")
	require.NoError(t, err)
	defer in.Close()
	program := dir.Join("program")
	out, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())

	cmd := exec.Command(program)
	cmd.Env = []string{role.Environment("wait")}
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	require.NoError(t, cmd.Start())

	require.ErrorContains(t, dir.Close(), "left behind")
	require.ErrorContains(t, cmd.Wait(), "killed")
	require.NoDirExists(t, dir.Join())
}

func TestOrderlyCloseHasNothingToSay(t *testing.T) {
	dir, err := scratch.New()
	require.NoError(t, err)
	_, err = dir.Make("a", "b")
	require.NoError(t, err)
	require.NoError(t, dir.Close())
	require.NoDirExists(t, dir.Join())
}
