package main

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// message is one of any service, as bytes.
type message []byte

// raw takes messages for what they are on the wire.
type raw struct{}

// Name is that of the codec whose bytes these are.
func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*message))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*message) = data.Materialize()
	return nil
}

// forward passes a call on and its answer back, with headers and trailers.
func forward(in grpc.ServerStream, cc *grpc.ClientConn, method string, md metadata.MD, opt grpc.CallOption) error {
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(in.Context(), md))
	defer cancel()
	out, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.ForceCodecV2(raw{}), opt)
	if err != nil {
		return err
	}
	go func() { // ends with in's context at the latest, when this call returns
		for {
			var m message
			err := in.RecvMsg(&m)
			switch {
			case errors.Is(err, io.EOF):
				_ = out.CloseSend()
				return
			case err != nil:
				cancel()
				return
			case out.SendMsg(&m) != nil: // the other direction knows why
				return
			}
		}
	}()
	for first := true; ; first = false {
		var m message
		err := out.RecvMsg(&m)
		if first && err == nil {
			// Not before a message: Header commits gRPC to an attempt, even to
			// one that it would have repeated.
			var header metadata.MD
			if header, err = out.Header(); err == nil {
				err = in.SendHeader(header)
			}
		}
		if err == nil {
			err = in.SendMsg(&m)
		}
		if err != nil {
			in.SetTrailer(out.Trailer())
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}
