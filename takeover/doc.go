// Package takeover is the hot path: it knows which worker guards which
// binding and which standbys are at hand, and when a worker is doomed it
// activates a standby with one sendmsg, on the sentinel's own thread.
//
// It runs in a small process of its own, started from the same binary, so that
// neither the scheduler nor the garbage collector of the busy supervisor can
// hold it up: a goroutine of the supervisor that finds no free P waits 10 ms
// and more, which is five times the whole failover (docs/decisions/001-engine-process.md).
//
// The supervisor prepares everything beforehand and sends it as commands: the
// encoded activation, the listening socket, the epoch. What is left for the
// moment of a death is a map lookup, a pop from a stack, a sendmsg.
//
//	state.go    who stands by, who guards what: a pure step machine, of which
//	            standbys.go, plans.go and outcomes.go are the steps
//	engine.go   the engine and its thread
//	commands.go what the supervisor asks for
//	failover.go a death, from the notice to the activation
//	forks.go    the end of what a dead worker forked
//	actions.go  what activates a standby
//	reports.go, report_delay.go  what is told, and what only a moment later
//	monitor.go  the Go scheduler's monitor, kept out of the way
//	wire.go     commands and events as datagrams
//	client.go   the supervisor's end
//	process.go  the process around it
package takeover
