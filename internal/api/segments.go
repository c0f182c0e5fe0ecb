package api

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/shmregistry"
)

// ListSegments implements understudyv1.SupervisorServer.
func (s *supervisorService) ListSegments(_ context.Context, r *understudyv1.ListSegmentsRequest) (*understudyv1.ListSegmentsResponse, error) {
	return &understudyv1.ListSegmentsResponse{Segments: SegmentMessages(s.core.Segments(r.GetProcessId()))}, nil
}

// SweepSegments implements understudyv1.SupervisorServer.
func (s *supervisorService) SweepSegments(_ context.Context, r *understudyv1.SweepSegmentsRequest) (*understudyv1.SweepSegmentsResponse, error) {
	swept, err := s.core.SweepSegments(r.GetDryRun())
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &understudyv1.SweepSegmentsResponse{Segments: SegmentMessages(swept)}, nil
}

// SegmentMessages is the registry's entries as the API tells them.
func SegmentMessages(entries []shmregistry.Entry) []*understudyv1.SegmentInfo {
	out := make([]*understudyv1.SegmentInfo, len(entries))
	for i, e := range entries {
		out[i] = &understudyv1.SegmentInfo{ProcessId: e.Binding, Name: e.Segment, Size: uint64(e.Size),
			OnDeath: string(e.Policy), Epoch: e.Epoch, Path: e.Path, State: string(e.State), OwnerPid: int32(e.Owner.PID),
			Created: timestamp(e.Created), Changed: timestamp(e.Changed)}
	}
	return out
}
