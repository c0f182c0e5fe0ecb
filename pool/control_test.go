package pool

import (
	"testing"

	understudyv1 "understudy/proto/understudy/v1"
)

// A worker whose control connection could not be made is told nothing, and a
// stop that comes before its end ends nobody else.
func TestWorkerWithoutAControlConnectionIsToldNothing(*testing.T) {
	k := &Keeper{}
	k.tell(&Worker{}, &understudyv1.ToWorker{Message: &understudyv1.ToWorker_Retire{Retire: &understudyv1.Retire{}}})
}
