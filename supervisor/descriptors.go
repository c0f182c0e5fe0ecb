package supervisor

import (
	"os"

	"understudy/internal/control"
	"understudy/internal/fdpass"
	"understudy/sentinel"
)

// descriptorsFeature says whether the kernel refuses the descriptors that a
// worker sends unasked.
func descriptorsFeature() sentinel.Feature {
	f := sentinel.Feature{Name: "descriptors of workers", InUse: "closed when they come"}
	ours, theirs, err := control.Pair()
	if err != nil {
		f.Why = err.Error()
		return f
	}
	for _, end := range []*os.File{ours, theirs} {
		defer end.Close()
	}
	if err := fdpass.Refuse(int(ours.Fd())); err != nil {
		f.Why = err.Error()
		return f
	}
	f.InUse, f.Best = "refused", true
	return f
}
