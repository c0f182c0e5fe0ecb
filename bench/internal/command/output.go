package command

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os/signal"

	"golang.org/x/sys/unix"

	"understudy/bench/internal/report"
)

// Output is where results go: the flags -out and -report.
type Output struct {
	// Dir is the folder of the results.
	Dir string

	document, command string
}

// Parse adds the two flags and parses.
func (o *Output) Parse(f *flag.FlagSet, args []string) error {
	f.StringVar(&o.Dir, "out", "bench/out", "directory of the results")
	f.StringVar(&o.document, "report", "", "a Markdown file (docs/BENCHMARKS.md) whose section of this command is written anew")
	o.command = report.Command(f.Name(), args)
	return f.Parse(args)
}

// Table is a report, the name of its files, and the panels of its picture.
type Table struct {
	*report.Report
	Name   string
	Panels []string
}

// Write prints the tables, writes the files of each and the section of the
// first, and prints the names of the files.
func (o *Output) Write(stdout io.Writer, tables ...Table) error {
	signal.Ignore(unix.SIGPIPE) // a reader that has left is an error, and what was changed is put back
	defer signal.Reset(unix.SIGPIPE)
	for _, t := range tables {
		if err := t.WriteTable(stdout); err != nil {
			return err
		}
		fmt.Fprintln(stdout)
	}
	var files []string
	for _, t := range tables {
		written, err := t.WriteFiles(o.Dir, t.Name, t.Panels...)
		if err != nil {
			return err
		}
		files = append(files, written...)
	}
	if o.document != "" {
		if err := tables[0].WriteSection(o.document, o.command); err != nil {
			return err
		}
		files = append(files, o.document)
	}
	for _, file := range files {
		fmt.Fprintln(stdout, file)
	}
	return nil
}

// WriteText writes a section that is what the command printed.
func (o *Output) WriteText(source string, printed []byte) error {
	if o.document == "" {
		return nil
	}
	return report.Section(o.document, o.command, source, func(b *bytes.Buffer) error {
		_, err := fmt.Fprintf(b, "```\n%s```\n", printed)
		return err
	})
}
