package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"
)

const (
	// progressAfter keeps what is quick from flickering.
	progressAfter = 300 * time.Millisecond
	progressEvery = 100 * time.Millisecond
)

// progress shows on stderr, where that is a terminal, what is being waited for
// and for how long, until the function it returns is called.
func (c *cli) progress(what string) (done func()) {
	f, ok := c.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		begun := time.Now()
		tick := time.NewTimer(progressAfter)
		defer tick.Stop()
		for shown := false; ; shown = true {
			select {
			case <-stop:
				if shown {
					fmt.Fprint(f, "\r\x1b[K")
				}
				return
			case <-tick.C:
				fmt.Fprintf(f, "\r\x1b[K%s ... %.1f s", what, time.Since(begun).Seconds())
				tick.Reset(progressEvery)
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}
