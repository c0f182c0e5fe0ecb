package worker_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

// output is what a worker prints.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed and replaced by each Write
}

func newOutput() *output { return &output{written: make(chan struct{})} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.written)
	o.written = make(chan struct{})
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the worker has printed text.
func (o *output) await(t testing.TB, text string) {
	t.Helper()
	late := time.After(patience)
	for {
		o.mu.Lock()
		printed, written := strings.Contains(o.text.String(), text), o.written
		o.mu.Unlock()
		if printed {
			return
		}
		select {
		case <-written:
		case <-late:
			t.Fatalf("worker does not print %q", text)
		}
	}
}
