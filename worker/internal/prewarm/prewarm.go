// Package prewarm gets a standby's memory ready for its first answers, so that
// pages are not fetched and stacks not copied while clients wait. It relies on
// how the Go runtime works today; where that changes, nothing is gained and
// nothing breaks. To be rid of it, delete the package and its call in
// worker/rehearse.go.
//
//	prewarm.go  which parts are on
//	stacks.go   new goroutines begin with larger stacks
//	heap.go     the pages that the heap grows into are resident
package prewarm

import (
	"context"

	"understudy/internal/pace"
)

// Memory does what is on, which takes some milliseconds. done takes back what
// costs something while it lasts; ctx's end does too.
func Memory(ctx context.Context, s pace.Switches) (done func()) {
	done = func() {}
	if s.On(pace.DeepStacks) {
		done = preferDeepStacks(ctx)
	}
	if s.On(pace.PopulateHeap) {
		populateHeap()
	}
	return done
}
