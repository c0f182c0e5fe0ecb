package procfs

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStatOfThisProcess(t *testing.T) {
	s, err := ReadStat(os.Getpid())
	require.NoError(t, err)
	require.Equal(t, os.Getppid(), s.Parent)
	require.NotZero(t, s.Start)
	require.True(t, Alive(os.Getpid(), s.Start))
	require.False(t, Alive(os.Getpid(), s.Start+1), "another process of that pid")
}

func TestZombieIsNotAlive(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	s, err := ReadStat(cmd.Process.Pid)
	require.NoError(t, err)
	require.True(t, Alive(cmd.Process.Pid, s.Start))
	in.Close()
	_, _ = out.Read(make([]byte, 1)) // it has closed its output, and so is about to end
	require.Eventually(t, func() bool { return !Alive(cmd.Process.Pid, s.Start) }, testTimeout, testTick)
	_ = cmd.Wait()
	_, err = ReadStat(cmd.Process.Pid)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestNameMayHoldAnything(t *testing.T) {
	s, err := parseStat(7, []byte("7 (a) S 1 (b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2 3"))
	require.NoError(t, err)
	require.Equal(t, Stat{State: 'S', Parent: 1, Group: 7, Session: 7, Start: 4711}, s)
	_, err = parseStat(7, []byte("7 (a) S 1"))
	require.ErrorContains(t, err, "/proc/7/stat")
}

func TestActivity(t *testing.T) {
	before, runnable := Activity(os.Getpid())
	require.True(t, runnable, "it is reading this")
	for {
		if now, _ := Activity(os.Getpid()); now > before {
			break
		}
	}
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	require.Eventually(t, func() bool {
		first, _ := Activity(cmd.Process.Pid)
		time.Sleep(time.Millisecond)
		second, runnable := Activity(cmd.Process.Pid)
		return first > 0 && first == second && !runnable
	}, 10*time.Second, time.Millisecond)
	ran, runnable := Activity(-1)
	require.False(t, runnable)
	require.Zero(t, ran)
}
