// Package text makes the words of others fit to be shown: bounded, valid
// UTF-8, and without what a terminal would obey.
package text

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Clip returns s, cut at a rune's end to at most most bytes; what is cut is
// marked by "…", which does not count.
func Clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// quoted is how much of a value Quote shows, in bytes.
const quoted = 64

// Quote shows a value in an error, quoted and shortened: an error line has a
// bound too.
func Quote(s string) string {
	if len(s) > quoted {
		return fmt.Sprintf("%q (%d bytes)", s[:quoted], len(s))
	}
	return strconv.Quote(s)
}

// Printable returns s with everything escaped, as in a Go string, that a
// terminal could obey instead of showing: control characters (escape sequences
// begin with one), marks that change the direction of text, and what is not
// valid UTF-8. Lines and tabs stay where lines is true.
func Printable(s string, lines bool) string {
	shown := func(r rune) bool {
		return unicode.IsPrint(r) || lines && (r == '\n' || r == '\t')
	}
	clean := utf8.ValidString(s)
	for _, r := range s {
		clean = clean && shown(r)
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case shown(r):
			b.WriteRune(r)
		case r > 0xffff: // as two halves, which JSON can read as well
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += size
	}
	return b.String()
}
