package looptest

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// fake is a test whose failure is looked at.
type fake struct {
	testing.TB
	failed  bool
	cleanup []func()
}

func (f *fake) Helper()               {}
func (f *fake) Cleanup(g func())      { f.cleanup = append(f.cleanup, g) }
func (f *fake) FailNow()              { f.failed = true; runtime.Goexit() }
func (f *fake) Errorf(string, ...any) {}

// A requirement that fails on the loop fails the test, and hangs nobody.
func TestRequirementOnTheLoopFailsTheTest(t *testing.T) {
	f := &fake{TB: t}
	stopped, ended := false, make(chan bool)
	go func() {
		returned := false
		defer func() { ended <- returned }()
		l := New(f)
		l.Start(func() { stopped = true }, func() bool { return true })
		l.Do(func() { require.True(f, false) })
		returned = true
	}()
	require.False(t, <-ended, "the test went on")
	require.True(t, f.failed)
	f.cleanup[0]()
	require.True(t, stopped)
}
