package h2

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
)

// A library reads them as what they are said to be.
func TestFrames(t *testing.T) {
	require.Equal(t, http2.ClientPreface, ClientPreface)
	require.Len(t, EmptySettings, FrameHeader)
	f, err := http2.NewFramer(nil, strings.NewReader(EmptySettings)).ReadFrame()
	require.NoError(t, err)
	settings, is := f.(*http2.SettingsFrame)
	require.True(t, is, "%T", f)
	require.Zero(t, settings.NumSettings())
	require.False(t, settings.IsAck())
	require.EqualValues(t, http2.FrameSettings, Settings)
	require.EqualValues(t, http2.FrameWindowUpdate, WindowUpdate)
	require.EqualValues(t, http2.FlagSettingsAck, FlagAck)
}
