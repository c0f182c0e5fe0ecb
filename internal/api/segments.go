package api

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"understudy/internal/segmentinfo"
	understudyv1 "understudy/proto/understudy/v1"
)

// ListSegments implements service.SupervisorServer.
func (s *supervisorService) ListSegments(_ context.Context, r *understudyv1.ListSegmentsRequest) (*understudyv1.ListSegmentsResponse, error) {
	return &understudyv1.ListSegmentsResponse{Segments: segmentinfo.Messages(s.core.Segments(r.GetProcessId()))}, nil
}

// SweepSegments implements service.SupervisorServer.
func (s *supervisorService) SweepSegments(_ context.Context, r *understudyv1.SweepSegmentsRequest) (*understudyv1.SweepSegmentsResponse, error) {
	swept, err := s.core.SweepSegments(r.GetDryRun())
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &understudyv1.SweepSegmentsResponse{Segments: segmentinfo.Messages(swept)}, nil
}
