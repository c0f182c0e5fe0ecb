// Package isolation binds each isolation key to one active worker and keeps it
// so: it makes the endpoint, arms the takeover engine with the next
// activation, follows what the engine did, and publishes the routes.
//
// The failover itself happens in the engine (package takeover), prepared from
// here; what a binding does about each thing that happens is one pure function
// (step.go), and this package's Manager carries it out on the event loop that
// it shares with the pool.
//
//	key.go          keys, levels, process ids
//	binding.go      what others see of a binding
//
// What a binding does next, as pure functions:
//
//	phase.go        what decisions look at, what goes into a step and what comes out
//	step.go         the life of a binding
//	crash_loop.go   of one whose workers die too soon
//	engine_lost.go  with a new engine
//
// What is done about it:
//
//	manager.go      the bindings, and who may ask for what
//	launch.go, lookup.go, limits.go    acquire; look up; what is refused
//	effects.go, activation.go          what a step decided; the plan and its bytes
//	events.go, engine_events.go        what workers and the engine say
//	crashes.go, hedge.go, handover.go  deaths; workers that are stuck, or want to stop
//	waiting.go      who waits for a worker
//	rejected.go, unanswered.go, reconnect.go    an engine that does not take, answer, or live
//	endpoint.go, endpoint_unix.go, endpoint_tcp.go   the listening sockets
//	watch_endpoint.go, deserted.go, kept_name.go, ports.go   their addresses, kept
//	segments.go     the shared memory of a binding
//	routes.go       the route table and those who watch it
package isolation
