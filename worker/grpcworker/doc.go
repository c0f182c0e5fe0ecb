// Package grpcworker is for pattern programs that are gRPC servers. It builds
// the server, with health and reflection, while the worker warms up, and sends
// it a first request then, so that the first one after activation finds
// everything in place: code in memory, types initialised, heap grown.
package grpcworker
