package route

import (
	"time"

	"understudy/internal/monotime"
	understudyv1 "understudy/proto/understudy/v1"
)

// sameClockWithin is how far apart the two machines' differences between wall
// and monotonic clock may be. Two readings in a row differ by microseconds; a
// thread that is preempted between them makes it more, and the answer no.
const sameClockWithin = 5 * time.Millisecond

// sameClock reports whether the supervisor's monotonic times are ours. The
// difference between wall and monotonic clock is the time of the boot, which
// two machines hardly share to the millisecond.
func sameClock(m *understudyv1.Route) bool {
	if m.GetPublished() == nil {
		return false
	}
	theirs := m.GetPublished().AsTime().UnixNano() - m.GetPublishedMonotonicNs()
	ours := time.Now().UnixNano() - monotime.Now()
	return time.Duration(theirs-ours).Abs() <= sameClockWithin
}
