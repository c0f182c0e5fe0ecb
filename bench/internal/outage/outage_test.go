package outage_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"understudy/bench/internal/outage"
	"understudy/bench/internal/role"
)

func TestMain(m *testing.M) {
	role.Play(role.Roles{"answer": answer})
	goleak.VerifyTestMain(m)
}

// answer says its pid to everybody who connects to the listener in descriptor
// 3, once a byte comes from standard input.
func answer() error {
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		_, _ = c.Write([]byte(strconv.Itoa(os.Getpid()) + "\n"))
		c.Close()
	}
}

type client struct{ address string }

func (c client) Ask(ctx context.Context) (int, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line))
}

func (client) Close() error { return nil }

type stage struct {
	client
	pids  []int
	begin []func()
}

// newStage has two processes that share a listener; they answer from begin on.
func newStage(t *testing.T) *stage {
	s := &stage{client: client{filepath.Join(t.TempDir(), "s")}}
	l, err := net.Listen("unix", s.address)
	require.NoError(t, err)
	f, err := l.(*net.UnixListener).File()
	require.NoError(t, err)
	defer f.Close()
	for range 2 {
		cmd := role.Command(context.Background(), "answer")
		cmd.ExtraFiles = []*os.File{f}
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			var killed *exec.ExitError
			require.ErrorAs(t, cmd.Wait(), &killed)
		})
		s.pids = append(s.pids, cmd.Process.Pid)
		s.begin = append(s.begin, func() { _, _ = in.Write([]byte{'\n'}) })
	}
	// Ours stays open without anybody listening: connections queue.
	t.Cleanup(func() { l.Close() })
	s.begin[0]()
	return s
}

func TestOutageIsTheTimeToTheNextProcess(t *testing.T) {
	const delay = 30 * time.Millisecond
	for moment, failures := range map[outage.Moment]int{outage.During: 1, outage.Between: 0} {
		t.Run(string(moment), func(t *testing.T) {
			s := newStage(t)
			o, err := outage.Measure(t.Context(), s, moment, 10*time.Second, func(pid int) error {
				time.AfterFunc(delay, s.begin[1])
				return unix.Kill(pid, unix.SIGKILL)
			})
			require.NoError(t, err)
			require.Equal(t, s.pids[0], o.Victim)
			require.Equal(t, s.pids[1], o.Successor)
			require.GreaterOrEqual(t, o.Gap(), delay)
			require.Less(t, o.Gap(), 5*time.Second)
			require.LessOrEqual(t, o.Failed, failures, "what was under way, at most: %v", o.Cause)
		})
	}
}

// As long as the cut is in force requests fail; the time is from its begin to the
// next good answer of the same process.
func TestUndisturbed(t *testing.T) {
	s := newStage(t)
	took, failed, err := outage.Undisturbed(t.Context(), s, 10*time.Second, nil)
	require.NoError(t, err)
	require.Zero(t, failed)
	require.Less(t, took, 5*time.Second)

	c := &cutClient{stage: s, fail: 3}
	took, failed, err = outage.Undisturbed(t.Context(), c, 10*time.Second, func() error { c.cut = true; return nil })
	require.NoError(t, err)
	require.Equal(t, 3, failed)
	require.GreaterOrEqual(t, took, 3*time.Millisecond)

	wrong := errors.New("not today")
	_, _, err = outage.Undisturbed(t.Context(), s, 10*time.Second, func() error { return wrong })
	require.ErrorIs(t, err, wrong)
	c.fail = 1 << 30
	_, _, err = outage.Undisturbed(t.Context(), c, 20*time.Millisecond, func() error { c.cut = true; return nil })
	require.ErrorIs(t, err, outage.ErrLong)
}

// cutClient fails so often after the cut, for a millisecond each time.
type cutClient struct {
	*stage
	cut  bool
	fail int
}

func (c *cutClient) Ask(ctx context.Context) (int, error) {
	if !c.cut {
		return c.stage.Ask(ctx)
	}
	time.Sleep(time.Millisecond)
	if c.fail--; c.fail == 0 {
		c.cut = false
	}
	return 0, errors.New("cut")
}

func TestOutageThatDoesNotEnd(t *testing.T) {
	s := newStage(t)
	_, err := outage.Measure(t.Context(), s, outage.During, time.Second, func(pid int) error { return unix.Kill(pid, unix.SIGKILL) })
	require.ErrorIs(t, err, outage.ErrLong)
}

func TestKillThatFails(t *testing.T) {
	s := newStage(t)
	wrong := errors.New("not today")
	_, err := outage.Measure(t.Context(), s, outage.Between, 10*time.Second, func(int) error { return wrong })
	require.ErrorIs(t, err, wrong)
}

func TestAddressWhereNobodyAnswers(t *testing.T) {
	start := time.Now()
	o, err := outage.Measure(t.Context(), client{"/nonexistent/s"}, outage.During, 200*time.Millisecond, func(int) error { return nil })
	require.ErrorIs(t, err, outage.ErrLong)
	require.ErrorIs(t, err, unix.ENOENT)
	require.Less(t, o.Failed, int(time.Since(start)/(250*time.Microsecond))+2)
}
