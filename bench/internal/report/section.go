package report

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
)

// sectionEnd closes what WriteSection writes.
const sectionEnd = "<!-- end -->"

// WriteSection writes the report into a Markdown file: what was added, where
// there is a base, every row, and the notes. See Section.
func (r *Report) WriteSection(file, command string) error {
	return Section(file, command, r.Source, func(b *bytes.Buffer) error {
		for _, table := range [][][]string{r.added(), r.cells()} {
			if len(table) > 1 {
				if err := writeMarkdown(b, r.narrow(table)); err != nil {
					return err
				}
				b.WriteString("\n")
			}
		}
		for _, n := range r.Notes {
			fmt.Fprintf(b, "* %s\n", n)
		}
		return nil
	})
}

// Section writes into a Markdown file, between a comment that is the command and
// the next end comment, where and when something was measured (the load average is
// of the end, the benchmark itself included), and the body. What
// stood there is replaced; a file without such a section gets it at its end. The
// rest is left as it is. An empty source is that of the working directory.
func Section(file, command, source string, body func(*bytes.Buffer) error) error {
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	begin := "<!-- " + command + " -->"
	before, rest, found := strings.Cut(string(old), begin+"\n")
	after := ""
	if found {
		if _, after, found = strings.Cut(rest, sectionEnd); !found {
			return fmt.Errorf("%s: no line %q after %q", file, sectionEnd, begin)
		}
	} else {
		before, after = strings.TrimRight(before, "\n")+"\n\n", "\n"
	}
	var b bytes.Buffer
	m := ThisMachine()
	fmt.Fprintf(&b, "%s%s\n`%s`\n\n", before, begin, command)
	fmt.Fprintf(&b, "Commit %s, %s: %d cores of %s, %d GiB, kernel %s, %s, uid %d; load average of 1 and 5 minutes %s.\n\n", cmp.Or(source, m.Revision, checkout(), "unknown"),
		m.Date.Format("2006-01-02"), m.Cores, m.CPU, (m.MemoryMB+512)>>10, m.Kernel, m.Go, m.User, firstTwo(m.Load))
	if err := body(&b); err != nil {
		return err
	}
	fmt.Fprintf(&b, "%s%s", sectionEnd, after)
	return renameio.WriteFile(file, b.Bytes(), 0o644)
}

// added is the table of the rows that have a base, as p50/p95.
func (r *Report) added() [][]string {
	table := [][]string{append(slices.Clone(r.Columns), "without", "with", "added", "n")}
	for _, row := range r.rows {
		p50, ok := row.Added(50)
		if !ok {
			continue
		}
		p95, _ := row.Added(95)
		table = append(table, append(slices.Clone(row.Labels), pair(row.Base), pair(row),
			fmt.Sprintf("%+.2f/%+.2f", inMS(p50), inMS(p95)), fmt.Sprint(row.N())))
	}
	return table
}

func pair(r *Row) string { return r.cell(r.Quantile(50)) + "/" + r.cell(r.Quantile(95)) }

// narrow leaves out the columns of labels that say the same in every row: the
// command says it too.
func (r *Report) narrow(table [][]string) [][]string {
	if len(table) <= 2 {
		return table
	}
	for c := len(r.Columns) - 1; c >= 0; c-- {
		seen := ""
		same := !slices.ContainsFunc(table[1:], func(cells []string) bool {
			seen = cmp.Or(seen, cells[c])
			return cells[c] != "" && cells[c] != seen
		})
		for i := range table {
			if same {
				table[i] = slices.Delete(table[i], c, c+1)
			}
		}
	}
	return table
}

// Command is a benchmark's command line without what only says where results go.
func Command(name string, args []string) string {
	words := []string{"go run ./bench/" + name}
	for i := 0; i < len(args); i++ {
		switch flag, _, whole := strings.Cut(strings.TrimLeft(args[i], "-"), "="); flag {
		case "report", "out":
			if !whole {
				i++
			}
		default:
			words = append(words, args[i])
		}
	}
	return strings.Join(words, " ")
}

// checkout is the commit of the working directory, or "".
func checkout() string {
	out, err := exec.Command("git", "describe", "--always", "--exclude=*", "--dirty=, changed").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// Source is the commit that a program was built from, or "".
func Source(program string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return ""
	}
	var revision, changed string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 7)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = ", changed"
		}
	}
	return revision + changed
}

// firstTwo are the first two words, as many as there are.
func firstTwo(text string) string {
	words := strings.Fields(text)
	return strings.Join(words[:min(len(words), 2)], ", ")
}
