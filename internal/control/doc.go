// Package control is the codec of the control protocol between the supervisor
// and a worker of contract sdk: one SOCK_SEQPACKET datagram is one protojson
// message of at most 64 KiB, with descriptors beside it. docs/PROTOCOL.md is
// the contract; proto/understudy/v1/worker.proto the schema.
package control
