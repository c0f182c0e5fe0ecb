// Package docs checks the project's Markdown: relative links lead to files that
// exist, anchors to headings that exist, and a document that a comment or a
// text names is there.
package docs

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

const root = "../.."

var (
	// [text](target) and ![text](target), with an optional title.
	inline = regexp.MustCompile(`\]\(\s*<?([^)>\s]+)>?(?:\s+"[^"]*")?\s*\)`)
	// [name]: target
	reference = regexp.MustCompile(`^\s{0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s+"[^"]*")?\s*$`)
	heading   = regexp.MustCompile(`^#{1,6}\s+(.*?)(?:\s+#+)?\s*$`)
	htmlID    = regexp.MustCompile(`\b(?:id|name)="([^"]+)"`)
	codeSpan  = regexp.MustCompile("`+[^`]+`+")
	linkText  = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
	scheme    = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
	// A document as texts and comments name it, such as docs/PROTOCOL.md.
	document = regexp.MustCompile(`\b(?:docs/[\w./-]*?|README|DEVELOPERS|findings/README)\.md\b`)
)

// prose calls f for each line outside fenced code, with code spans blanked.
func prose(text string, f func(n int, raw, line string)) {
	fence := ""
	for n, raw := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(raw)
		if fence != "" {
			if strings.HasPrefix(trimmed, fence) {
				fence = ""
			}
			continue
		}
		if strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~") {
			fence = trimmed[:3]
			continue
		}
		f(n+1, raw, codeSpan.ReplaceAllString(raw, ""))
	}
}

// slug is the anchor that GitHub gives a heading.
func slug(heading string) string {
	heading = linkText.ReplaceAllString(heading, "$1")
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		}
	}
	return b.String()
}

// anchors are the fragments that a document has.
func anchors(text string) map[string]bool {
	all, count := map[string]bool{}, map[string]int{}
	prose(text, func(_ int, raw, _ string) {
		for _, m := range htmlID.FindAllStringSubmatch(raw, -1) {
			all[m[1]] = true
		}
		if m := heading.FindStringSubmatch(raw); m != nil {
			s := slug(m[1])
			if n := count[s]; n > 0 {
				all[fmt.Sprintf("%s-%d", s, n)] = true
			} else {
				all[s] = true
			}
			count[s]++
		}
	})
	return all
}

// broken returns what is wrong with the links of the Markdown file, one line
// each.
func broken(file string) (wrong []string, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	prose(string(b), func(n int, _, line string) {
		var targets []string
		for _, m := range inline.FindAllStringSubmatch(line, -1) {
			targets = append(targets, m[1])
		}
		if m := reference.FindStringSubmatch(line); m != nil {
			targets = append(targets, m[1])
		}
		for _, target := range targets {
			if w := lost(file, target); w != "" {
				wrong = append(wrong, fmt.Sprintf("%s:%d: %s: %s", file, n, target, w))
			}
		}
	})
	return wrong, nil
}

// lost says why a link of the file leads nowhere, or "". Other sites are not
// asked.
func lost(file, target string) string {
	if scheme.MatchString(target) || strings.HasPrefix(target, "//") {
		return ""
	}
	name, fragment, _ := strings.Cut(target, "#")
	name, err := url.PathUnescape(name)
	if err != nil {
		return err.Error()
	}
	to := file
	switch {
	case strings.HasPrefix(name, "/"):
		return "not relative"
	case name != "":
		to = filepath.Join(filepath.Dir(file), name)
	}
	if _, err := os.Stat(to); err != nil {
		return "no such file"
	}
	if fragment == "" || filepath.Ext(to) != ".md" {
		return ""
	}
	b, err := os.ReadFile(to)
	if err != nil {
		return err.Error()
	}
	if !anchors(string(b))[fragment] {
		return "no such heading"
	}
	return ""
}

// sources calls f for each file of the tree with one of the endings.
func sources(t *testing.T, f func(file string), endings ...string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "out" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		for _, e := range endings {
			if !d.IsDir() && strings.HasSuffix(file, e) {
				f(file)
			}
		}
		return nil
	}))
}

func TestLinksLeadSomewhere(t *testing.T) {
	files := 0
	sources(t, func(file string) {
		files++
		wrong, err := broken(file)
		require.NoError(t, err)
		for _, w := range wrong {
			t.Error(w)
		}
	}, ".md")
	require.Positive(t, files)
}

// A comment that sends its reader to a document must send him to one that is
// there.
func TestDocumentsThatAreNamedExist(t *testing.T) {
	named := 0
	sources(t, func(file string) {
		if strings.HasSuffix(file, "links_test.go") {
			return
		}
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		for n, line := range strings.Split(string(b), "\n") {
			if !strings.Contains(line, ".md") { // most lines, and much quicker than the expression
				continue
			}
			for _, name := range document.FindAllString(line, -1) {
				named++
				if _, err := os.Stat(filepath.Join(root, name)); err != nil {
					t.Errorf("%s:%d: there is no %s", file, n+1, name)
				}
			}
		}
	}, ".go", ".md", ".py", ".proto", ".yaml", ".sh", "Makefile")
	require.Positive(t, named)
}

func TestBrokenLinksAreFound(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		return file
	}
	write("there.md", "# A heading: `code`, and more\n\n## Twice\n\n## Twice\n\n```\n# No heading\n```\n")
	file := write("here.md", strings.Join([]string{
		"# Top",
		"[good](there.md), [anchor](there.md#a-heading-code-and-more), [second](there.md#twice-1), [own](#top)",
		"[other site](https://example.org/x#y), `[code](none.md)`",
		"```", "[fenced](none.md)", "```",
		"![picture](none.png) and [text](none.md)",
		"[anchor](there.md#no-heading) [own](#bottom)",
		"[ref]: lost.md",
	}, "\n"))
	wrong, err := broken(file)
	require.NoError(t, err)
	require.Equal(t, []string{
		file + ":7: none.png: no such file",
		file + ":7: none.md: no such file",
		file + ":8: there.md#no-heading: no such heading",
		file + ":8: #bottom: no such heading",
		file + ":9: lost.md: no such file",
	}, wrong)
}
