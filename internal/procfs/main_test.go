package procfs

import "time"

const (
	testTimeout = 10 * time.Second
	testTick    = time.Millisecond
)
