// Package route is for proxies: it knows at any moment where each binding of a
// supervisor answers, and lets go of a dead worker's connections at once.
//
//   - A Table follows the supervisor's routes. Lookup takes no lock, no system
//     call and no memory; while the supervisor is away the last routes go on
//     serving.
//   - Table.Resolver lets gRPC dial understudy:///<pattern>?namespace=…, and
//     Table.NewClient makes such a client with all that follows here.
//   - Table.DialOption and Table.Dialer open connections that the table cuts
//     when their worker dies.
//
// # Which connections are cut
//
// The address of a binding outlives its workers, so connections to a dead
// worker and to the next one look alike, and those that waited in the listening
// socket's backlog go to the next one though they are older than the death.
// Cutting one of those would fail calls that the new worker is answering. The
// epoch does not help: a client cannot know which worker accepted it. The time
// helps. A route that follows a death carries the moment at which the kernel saw
// it, and a connection has a birth:
//
//   - for gRPC (DialOption), the moment its first bytes were read: an HTTP/2
//     server speaks as soon as it accepts;
//   - for any other protocol (Dialer), the moment connect(2) returned. A
//     connection that waited in the backlog of a hung worker is then cut too,
//     and has to be dialled again.
//
// A connection that was born before the death is cut; one born after it stays,
// and so does one that is not born yet. A call that begins after the death is
// never answered by the dead worker: it would have to read and to write, and
// the first of the two system calls does not return to a dying thread. What can
// happen is that the dying worker's last accept(2) takes a connection, or that
// its greeting is read late. Such a connection ends when the kernel closes it:
// at once where the worker has an heir, as those of the Go SDK do, else when
// its memory has been freed.
//
// A gRPC connection that ends before it is born is dialled again by the dialer
// itself, with what gRPC had written so far, as long as that holds no call. So
// no call fails because a worker died while its client was connecting. See
// below for the one that was sent before.
//
// The times are CLOCK_MONOTONIC of the supervisor's machine. Whether ours is the
// same clock shows in its difference to the wall clock, which routes carry in
// both forms. Where it is not (another machine, another time namespace, the
// wall clock was just set), whatever is born when the route arrives that follows
// a death is cut.
//
// The connections are cut, and gRPC has let go of them, before the new route
// shows in the table, so that a call which begins after it is not sent to the
// dead. A binding that failed for good loses all connections, and so does one
// whose epoch went back: it was created anew. A route without a death (a
// launch, a planned end) cuts nothing: the worker that leaves finishes its calls
// and closes its connections itself.
//
// # The connection in reserve
//
// WithoutReserve turns this off.
//
// gRPC takes half a millisecond to get from the end of a connection to a call on
// the next one. So a client of NewClient does all of that beforehand: beside
// its connection it keeps one that gRPC takes for ready, and that is not
// connected. It costs the worker nothing. When the connection in use ends, the
// other one's connect(2) is all that is left to do, before gRPC even knows of the
// end, and calls are written to it without waiting for the server's greeting, as
// HTTP/2 allows; the server's limit of streams is not known to them yet. If the
// worker that accepts it dies before it has greeted, what was sent has failed with
// UNAVAILABLE, since the worker may have read it; where nothing was sent it is
// dialled again, as above. What was written also fails if it cannot be connected. Meanwhile the channel stays
// READY. It costs the client some 40 KiB and a descriptor. There is none behind
// TLS, where the server speaks in the middle of the handshake, none for clients
// that have another load balancing policy in their service config (RetryPolicy's
// has this one), and with keepalive pings while there are no calls
// (PermitWithoutStream) gRPC gives it up at each, for a second.
//
//	route.go         keys, process ids, routes
//	index.go         the look-up
//	table.go         the table
//	update.go        its changes
//	watch.go         the stream that brings them
//	subscription.go  the changes of one route
//	birth.go         which connections are cut, and the cutting
//	dialer.go        connections of any protocol
//	greeted.go       connections of gRPC until they are born
//	reserve/         the load balancing policy: one connection, one in reserve
//	clock.go         whether two clocks are one
//	resolver.go      understudy:/// for gRPC
//	client.go        a gRPC client with all of this
//	retry.go         gRPC's retry policy for idempotent methods
package route
