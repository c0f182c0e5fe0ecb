// Package pool starts worker processes, keeps warm spares of each pattern, and
// sees each worker through its life: spawn, handshake, warm, activate, drain,
// kill. It knows patterns; it does not know keys.
//
// Everything in it runs on one event loop, the supervisor's. Whatever blocks
// (fork and exec, reading pipes and control sockets) runs elsewhere and posts
// its outcome to that loop, so that no state is locked.
//
//	keeper.go     the patterns' pools and what the supervisor asks of them
//	plan.go       how many to start and to retire: a pure function
//	worker.go     one worker and its states
//	start.go      from nothing to standby
//	end.go        drain, retire, kill, reap
//	spawn.go      the process: descriptors, environment, fork and exec
//	liveness.go   probes of standbys and active workers
//	output.go     what a worker writes, line by line
//	heirs.go      the tasks that share the memory of Go workers
package pool
