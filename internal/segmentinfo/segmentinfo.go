// Package segmentinfo turns entries of the segment registry into messages of
// the API. The client does so too, where it reads the registry's file without a
// daemon.
package segmentinfo

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	understudyv1 "understudy/proto/understudy/v1"
	"understudy/shmregistry"
)

// Messages returns one message for each entry.
func Messages(entries []shmregistry.Entry) []*understudyv1.SegmentInfo {
	out := make([]*understudyv1.SegmentInfo, len(entries))
	for i, e := range entries {
		out[i] = &understudyv1.SegmentInfo{ProcessId: e.Binding, Name: e.Segment, Size: uint64(e.Size),
			OnDeath: string(e.Policy), Epoch: e.Epoch, Path: e.Path, State: string(e.State), OwnerPid: int32(e.Owner.PID),
			Created: timestamp(e.Created), Changed: timestamp(e.Changed)}
	}
	return out
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
