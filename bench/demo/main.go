// Command demo shows a failover to somebody who has just cloned the project:
// three tenants, a client at each, and one tenant whose workers are killed in
// every way. It leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"understudy/bench/internal/command"
	"understudy/patterns/echo/echov1"
)

// victim is the tenant whose workers die; the others must not notice.
const victim = "acme"

var tenants = []string{victim, "globex", "initech"}

// deaths are the ways to die, in the order of the show.
var deaths = []struct {
	name   string
	signal unix.Signal
	way    echov1.CrashWay
}{
	{name: "SIGKILL from outside", signal: unix.SIGKILL},
	{name: "exit(3)", way: echov1.CrashWay_CRASH_WAY_EXIT},
	{name: "panic", way: echov1.CrashWay_CRASH_WAY_PANIC},
	{name: "SIGSEGV", way: echov1.CrashWay_CRASH_WAY_SIGSEGV},
	{name: "SIGABRT", way: echov1.CrashWay_CRASH_WAY_SIGABRT},
	{name: "out of memory", way: echov1.CrashWay_CRASH_WAY_LEAK},
	{name: "SIGKILL from outside", signal: unix.SIGKILL},
}

func main() {
	command.Main("demo", run)
}

func run(ctx context.Context, args []string, _, stderr io.Writer) (err error) {
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.SetOutput(stderr)
	program := f.String("daemon", "bin/understudyd", "the daemon's program")
	patterns := f.String("patterns", "patterns", "the folder of the patterns")
	if err := f.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "understudy-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := start(ctx, *program, *patterns, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()

	fmt.Printf("understudyd runs (pid %d). Three tenants launch the pattern \"echo\":\n\n", s.Pid())
	clients := make(map[string]*tenant)
	for _, name := range tenants {
		t, err := s.launch(ctx, name)
		if err != nil {
			return err
		}
		defer t.stop()
		clients[name] = t
		fmt.Printf("  %-8s pid %-7d epoch 1  %s\n", name, t.last().Pid, t.address)
	}
	if err := s.AwaitSpare(ctx); err != nil {
		return err
	}
	fmt.Printf("\nEach tenant's client calls without a pause. Now the workers of %q die, one after the other:\n\n", victim)
	fmt.Println("  died                  pid      by      -> new pid  epoch  supervisor   client's gap")
	var gaps []time.Duration
	for _, death := range deaths {
		gap, err := s.kill(ctx, clients[victim], death.name, death.signal, death.way)
		if err != nil {
			return err
		}
		gaps = append(gaps, gap)
	}
	for _, t := range clients {
		t.stop()
	}
	fmt.Println()
	table(clients, gaps)
	return nil
}

func table(clients map[string]*tenant, gaps []time.Duration) {
	w := tabwriter.NewWriter(os.Stdout, 2, 0, 3, ' ', 0)
	fmt.Fprintln(w, "  TENANT\tDEATHS\tREQUESTS\tFAILED\tLONGEST GAP")
	for _, name := range tenants {
		t := clients[name]
		n := 0
		if name == victim {
			n = len(gaps)
		}
		sent, failed, longest := t.totals()
		fmt.Fprintf(w, "  %s\t%d\t%d\t%d\t%s\n", name, n, sent, failed, ms(longest))
	}
	w.Flush()
	fmt.Println("\nA failed request was in flight at its worker when that died. A gap is the time between two good")
	fmt.Println("answers; for the tenants whose workers live it shows how busy this machine is.")
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
