// Package pool starts worker processes, keeps warm spares of each pattern, and
// sees each worker through its life: spawn, handshake, warm, activate, drain,
// kill. It knows patterns; it does not know keys.
//
// Everything in it runs on one event loop, the supervisor's. Whatever blocks
// (fork and exec, reading pipes and control sockets) runs elsewhere and posts
// its outcome to that loop, so that no state is locked.
//
//	keeper.go        what the supervisor asks of the workers
//	pools.go         the patterns' pools: filling, retiring, backoff
//	plan.go          how many to start and to retire: a pure function
//	state.go         what a worker's life is
//	step.go          the life of a worker: a pure function
//	step_kinds.go    what goes into it and what comes out
//	timers.go        what a worker is given time for
//	effects.go       what the steps have done
//	worker.go        one worker, for the loop
//	start.go         from nothing to the first words
//	end.go           kill, reap, close the account
//	contract.go      how a pattern's workers and the supervisor deal with each other
//	contract_sdk.go  the control protocol's way
//	spawn.go         the process: descriptors, fork and exec
//	output.go        what a worker writes, line by line
//	heirs.go         the tasks that share the memory of Go workers
//	strays.go        what dead workers leave, where there are no control groups
//	descriptors.go   how many workers there are descriptors for
//	cause.go, starterror.go, stats.go  what is told of ends, starts and pools
package pool
