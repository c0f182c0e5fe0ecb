package pool

import "time"

// Stats is a snapshot of one pattern's pool.
type Stats struct {
	Pattern  string
	Min, Max int
	Standby  int
	Starting int
	Active   int
	Draining int
	// Started and StartFailures count since the supervisor started.
	Started       int64
	StartFailures int64
	// LastError is the newest failed start, "" after a good one.
	LastError string
	// Backoff is how long until the next start is tried; 0 when not waiting.
	Backoff time.Duration
}
