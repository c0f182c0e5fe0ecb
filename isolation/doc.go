// Package isolation binds each isolation key to one active worker and keeps it
// so: it makes the endpoint, arms the takeover engine with the next
// activation, follows what the engine did, and publishes the routes.
//
// The failover itself happens in the engine (package takeover), prepared from
// here; what a binding does about each thing that happens is one pure function
// (step.go), and this package's Manager carries it out on the event loop that
// it shares with the pool.
//
//	key.go       keys, levels, process ids
//	binding.go   what others see of a binding
//	step.go      what a binding does next: pure
//	manager.go   acquire, release, look up
//	effects.go   what step decided, carried out
//	endpoint.go  the listening sockets
//	routes.go    the route table and those who watch it
package isolation
