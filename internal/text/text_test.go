package text

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestClipCutsAtARune(t *testing.T) {
	require.Equal(t, "abc", Clip("abc", 3))
	require.Equal(t, "ab…", Clip("abc", 2))
	require.Equal(t, "a…", Clip("aé", 2), "é has two bytes")
	require.Equal(t, "…", Clip("é", 1))
	require.Equal(t, "…", Clip("\x80\x80", 1), "even where there is no rune's start")
}

func TestQuoteIsBounded(t *testing.T) {
	require.Equal(t, `"a\x1b"`, Quote("a\x1b"))
	long := make([]byte, 10_000)
	require.Less(t, len(Quote(string(long))), 400)
	require.Contains(t, Quote(string(long)), "10000 bytes")
}

func TestPrintableLeavesNothingToObey(t *testing.T) {
	for in, want := range map[string]string{
		"plain, grün, 日本":     "plain, grün, 日本",
		"\x1b[31mred":         `\x1b[31mred`,
		"bell\a":              `bell\a`,
		"a\u202Eb":            `a\u202eb`,
		"a\u2066b":            `a\u2066b`,
		"tag\U000E0001":       `tag\udb40\udc01`,
		"caf\xe9":             `caf\xe9`,
		"one\ntwo\tthree\r":   `one\ntwo\tthree\r`,
		"\u009b31m (C1)":      `\u009b31m (C1)`,
		"replacement \uFFFD ": "replacement \uFFFD ",
	} {
		got := Printable(in, false)
		require.Equal(t, want, got)
		require.True(t, utf8.ValidString(got))
	}
	require.Equal(t, "one\ntwo\tthree\\r", Printable("one\ntwo\tthree\r", true))
}
