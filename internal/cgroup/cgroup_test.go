package cgroup

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestOwnGroupIsFound(t *testing.T) {
	const hybrid = "24 23 0:21 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
	const container = "24 23 0:21 /docker/abc /sys/fs/cg\\040roup rw,relatime - cgroup2 cgroup rw,nsdelegate\n"
	for name, c := range map[string]struct{ mounts, groups, want string }{
		"hybrid, in the root":      {hybrid, "4:memory:/x\n0::/\n", "/sys/fs/cgroup/unified"},
		"a slice":                  {hybrid, "0::/system.slice/understudy.service\n", "/sys/fs/cgroup/unified/system.slice/understudy.service"},
		"a part is mounted":        {container, "0::/docker/abc/sub\n", "/sys/fs/cg roup/sub"},
		"another part is mounted":  {container, "0::/docker/abcd\n", ""},
		"version 1 alone":          {"24 23 0:21 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "0::/\n", ""},
		"no line of version 2":     {hybrid, "4:memory:/x\n", ""},
		"outside of the namespace": {hybrid, "0::/../other\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := locate([]byte(c.mounts), []byte(c.groups))
			if c.want == "" {
				require.ErrorIs(t, err, ErrNotSupported)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

// tree returns a tree of this test's own.
func tree(t *testing.T) *Tree {
	t.Helper()
	tr, err := Open(fmt.Sprintf("test-%d", os.Getpid()))
	if err != nil {
		t.Skipf("control groups cannot be made here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	return tr
}

// inGroup starts a shell script in a group and returns what it prints first.
func inGroup(t *testing.T, g *Group, script string) (cmd *exec.Cmd, line string) {
	t.Helper()
	dir, err := g.Open()
	require.NoError(t, err)
	defer dir.Close()
	cmd = exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd()), Setpgid: true}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return cmd, strings.TrimSpace(line)
}

// What left group and session is in the control group still, and ends with it.
func TestNothingOutlivesItsGroup(t *testing.T) {
	tr := tree(t)
	g, err := tr.Make(7)
	require.NoError(t, err)
	cmd, line := inGroup(t, g, `setsid sleep 300 & echo $!; exec sleep 300`)
	grandchild, err := strconv.Atoi(line)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		pids, err := g.Pids()
		return err == nil && len(pids) == 2
	}, 10*time.Second, time.Millisecond)
	groups, err := tr.Groups()
	require.NoError(t, err)
	require.Len(t, groups, 1)
	require.ErrorIs(t, g.Wait(time.Millisecond), ErrPopulated)

	require.Equal(t, 1, g.KillBut(func(pid int) bool { return pid == cmd.Process.Pid }))
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", grandchild))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, unix.Kill(cmd.Process.Pid, 0), "the one that was spared lives")

	require.NoError(t, g.Remove(10*time.Second))
	require.NoDirExists(t, g.Dir())
	require.NoError(t, g.Remove(time.Second), "what is gone already is no error")
}

// A worker may make groups below its own; they go with it.
func TestGroupsBelowGoToo(t *testing.T) {
	tr := tree(t)
	g, err := tr.Make(1)
	require.NoError(t, err)
	sub := filepath.Join(g.Dir(), "own", "deeper")
	_, _ = inGroup(t, g, fmt.Sprintf(`mkdir -p %s && sh -c 'echo $$ > %s/cgroup.procs; echo moved; exec sleep 300'`, sub, sub))
	pids, err := os.ReadFile(filepath.Join(sub, "cgroup.procs"))
	require.NoError(t, err)
	require.NotEmpty(t, pids)
	require.NoError(t, g.Remove(10*time.Second))
	require.NoDirExists(t, g.Dir())
}

// What is no control group is refused, and nothing is left in it.
func TestOtherFoldersAreRefused(t *testing.T) {
	dir := t.TempDir()
	_, err := open(dir, "x")
	require.ErrorIs(t, err, os.ErrNotExist, "there is no cgroup.procs")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cgroup.procs"), nil, 0o600))
	_, err = open(dir, "x")
	require.ErrorIs(t, err, ErrNotSupported)
	require.NoDirExists(t, filepath.Join(dir, "understudy-x"))
}

// A tree of a life that is over goes when its last process has ended, no sooner.
func TestEmptyTreesOfEarlierLivesAreRemoved(t *testing.T) {
	earlier, err := Open(fmt.Sprintf("test-%d-earlier", os.Getpid()))
	if err != nil {
		t.Skipf("control groups cannot be made here: %v", err)
	}
	g, err := earlier.Make(1)
	require.NoError(t, err)
	cmd, _ := inGroup(t, g, "echo runs; exec sleep 300")
	mine := fmt.Sprintf("test-%d-", os.Getpid())
	Sweep(mine)
	require.DirExists(t, g.Dir())
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	Sweep(mine)
	require.NoDirExists(t, earlier.Dir())
}
