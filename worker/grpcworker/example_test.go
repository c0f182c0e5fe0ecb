package grpcworker_test

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"understudy/patterns/echo/echov1"
	"understudy/worker"
	"understudy/worker/grpcworker"
)

type service struct {
	echov1.UnimplementedEchoServer
}

// Say is the pattern's work.
func (service) Say(_ context.Context, r *echov1.SayRequest) (*echov1.SayResponse, error) {
	return &echov1.SayResponse{Payload: r.Payload}, nil
}

// All of a gRPC pattern. Started by hand, it says what it is.
func Example() {
	err := grpcworker.Run(context.Background(), grpcworker.Options{
		Register: func(s *grpc.Server) { echov1.RegisterEchoServer(s, service{}) },
	})
	fmt.Println(errors.Is(err, worker.ErrNotSupervised))
	// Output: true
}
