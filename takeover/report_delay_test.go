package takeover

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"understudy/internal/monotime"
	"understudy/internal/pace"
)

// endless is a delay that no test waits for: what is told was not held back.
const endless = time.Hour

// TestFailoverIsToldAMomentLater: the activation is sent at once. It is told
// after the delay where an heir cuts the connections, and at once where nobody
// does, and where there is no standby.
func TestFailoverIsToldAMomentLater(t *testing.T) {
	for _, c := range []struct {
		name          string
		heir, standby bool
		gone          bool      // the heir
		first         EventKind // 0: held back
	}{
		{"with an heir", true, true, false, 0},
		{"without an heir", false, true, false, Activated},
		{"with an heir that was killed", true, true, true, Activated},
		{"without a standby", true, false, false, Waiting},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStation(t, endless)
			active := startGuarded(t, s.Client, 1, c.heir)
			standby := startGuarded(t, s.Client, 2, c.heir)
			if c.gone {
				require.NoError(t, s.Heir(1, 0, -1))
			}
			if c.standby {
				require.NoError(t, s.Offer(2, 1, false))
			}
			require.NoError(t, s.Arm(aPlan(1, 1), false))
			s.taken(t)

			active.kill(t)
			if c.standby {
				require.Equal(t, "activate", standby.read(t))
			}
			if c.first != 0 {
				s.until(t, c.first)
				return
			}
			// Everything that was to be told is posted by now, or will be. That it
			// does not come cannot be waited for; a death that matters brings it.
			require.NoError(t, s.Withdraw(2))
			select {
			case e := <-s.events:
				t.Fatalf("told within the delay: %+v", e)
			case <-time.After(100 * time.Millisecond):
			}
			require.NoError(t, s.Arm(Plan{Binding: 2, Epoch: 1, Pool: 1, Payload: []byte("activate")}, false))
			require.Equal(t, Activated, s.next(t).Kind)
			require.False(t, s.until(t, Withdrawn).OK)
			s.until(t, Waiting)
		})
	}
}

// The delay is as long as it should be at the least, each time, and ends.
func TestReportDelayEnds(t *testing.T) {
	for range 5 {
		s := newStation(t, pace.Breather)
		active := startGuarded(t, s.Client, 1, true)
		startGuarded(t, s.Client, 2, true)
		require.NoError(t, s.Offer(2, 1, false))
		require.NoError(t, s.Arm(aPlan(1, 1), false))
		s.taken(t)
		active.kill(t)
		e := s.until(t, Activated)
		require.GreaterOrEqual(t, monotime.Now()-e.Seen, int64(pace.Breather))
	}
}

// TestDelayEndsForWhomItMatters: a death that finds no standby is told at once,
// also in the delay after another one, which ends with it.
func TestDelayEndsForWhomItMatters(t *testing.T) {
	s := newStation(t, endless)
	var workers []guarded
	for id := WorkerID(1); id <= 3; id++ {
		workers = append(workers, startGuarded(t, s.Client, id, true))
	}
	require.NoError(t, s.Offer(3, 1, false))
	require.NoError(t, s.Arm(aPlan(1, 1), false))
	require.NoError(t, s.Arm(aPlan(2, 2), false))
	s.taken(t)
	workers[0].kill(t)
	require.Equal(t, "activate", workers[2].read(t))
	workers[1].kill(t)
	require.Equal(t, Activated, s.next(t).Kind)
	require.EqualValues(t, 2, s.until(t, Waiting).Binding)
}
