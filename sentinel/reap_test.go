package sentinel

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestReap(t *testing.T) {
	p := run(t, "exit")
	_, err := Reap(p.pidfd)
	require.ErrorIs(t, err, unix.EAGAIN, "it lives")
	p.tell()
	st := p.reap()
	require.Equal(t, Status{Exited: true, Code: 3, Rusage: st.Rusage}, st)
	require.Positive(t, st.UserTime()+st.SystemTime())
	require.Greater(t, st.MaxRSS(), int64(1000))
	_, err = Reap(p.pidfd)
	require.ErrorIs(t, err, unix.ECHILD, "it is reaped already")
	_, err = Reap(0)
	require.Error(t, err)
}

func TestStatusString(t *testing.T) {
	for want, st := range map[string]Status{
		"exited with code 0":              {Exited: true},
		"killed by SIGTERM":               {Signal: unix.SIGTERM},
		"killed by SIGSEGV (core dumped)": {Signal: unix.SIGSEGV, CoreDumped: true},
		"killed by signal 40":             {Signal: 40},
		"ended in an unknown way":         {},
	} {
		require.Equal(t, want, st.String())
	}
}
