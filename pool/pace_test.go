package pool

import (
	"testing"

	"github.com/stretchr/testify/require"

	"understudy/internal/pace"
)

// mutes counts whose exits are kept back.
type mutes struct {
	Reaper
	pids []int
}

func (m *mutes) Mute(pid int) bool {
	m.pids = append(m.pids, pid)
	return true
}

func TestExitMuteCanBeTurnedOff(t *testing.T) {
	off, err := pace.Off(pace.ExitMute)
	require.NoError(t, err)
	for _, c := range []struct {
		pace  pace.Switches
		muted []int
	}{{pace.Switches{}, []int{7}}, {off, nil}} {
		m := &mutes{}
		k := &Keeper{cfg: Config{Pace: c.pace}, reaper: m}
		k.do(&Worker{Pid: 7}, output{kind: outMute})
		require.Equal(t, c.muted, m.pids)
	}
}
