package pool

import (
	"os"
	"time"

	"understudy/patterns"
)

// contract is how the supervisor and the workers of a pattern deal with each
// other. Its methods may be called beside the loop.
type contract interface {
	// prepare makes what a worker is started with, and our end of it.
	prepare(m *patterns.Manifest, name string, s surroundings) (*spawnSpec, error)
	// activation is what the engine sends to a standby to make it active, beside
	// the listening socket and the segments.
	activation(a Activation) ([]byte, error)
}

// contractOf returns the contract of a pattern. Package patterns knows the names.
func contractOf(*patterns.Manifest) contract { return sdk{} }

// spawnSpec is how one worker's process is made.
type spawnSpec struct {
	// env is its whole environment.
	env []string
	// files are its descriptors from 3 on, to be closed once it runs.
	files []*os.File
	// link is our end.
	link link
	// doom is our end of the socket that wakes its exit helper; nil without.
	doom *os.File
}

// link is the supervisor's end of one worker's contract. But for listen, no
// method waits. A worker that does not take what it is sent is dying or hung:
// its death or its probe says so.
type link interface {
	// socket is where the engine sends activations to.
	socket() *os.File
	// listen passes on what the worker says, in its order. It returns when the
	// connection ends; saidLost is the last word then.
	listen(say func(said))
	// catchUp calls done, on another goroutine, when whatever has come by now is
	// passed on.
	catchUp(done func())
	probe(id uint64) error
	// drain asks an active worker to finish what it has begun, within grace.
	drain(grace time.Duration) error
	// retire asks for the end of a worker that serves nobody any more.
	retire() error
	// close ends listen. What has come and was not passed on is lost.
	close()
}

// saidKind is what a worker says.
type saidKind uint8

const (
	// saidReady: it is warm. heir is the pid of its exit helper, 0 without one;
	// err says why it cannot be kept.
	saidReady saidKind = iota
	// saidAnswer: its answer to probe id; err is what is wrong with it.
	// processID and epoch say what it serves, if anything.
	saidAnswer
	// saidServing: it accepts for processID at epoch.
	saidServing
	// saidDraining: it wants to stop, or somebody else told it to; err says why.
	saidDraining
	// saidDrained: nothing is in flight any more.
	saidDrained
	// saidFatal: it gives up; err says why.
	saidFatal
	// saidFlood: it says more than it may; err says how much. It is the last word.
	saidFlood
	// saidLost: the connection ended; err says why, nil where it was closed.
	saidLost
)

// said is one thing that a worker says.
type said struct {
	kind      saidKind
	id        uint64
	heir      int
	processID string
	epoch     uint64
	err       error
}

// Activation is what makes a standby the active worker of a binding.
type Activation struct {
	ProcessID, Pattern                string
	Epoch                             uint64
	Region, Namespace, Session, Level string
	// Config is the manifest's, overlaid with the launch request's.
	Config map[string]string
	// Network and Address are those of its endpoint.
	Network, Address string
	Segments         []Segment
	// Takeover: it takes the place of another, whose clients wait.
	Takeover bool
}

// Segment is one shared-memory object of an Activation.
type Segment struct {
	Name string
	Size uint64 // in bytes
	Path string // where other programs open it, "" where they cannot
}

// Activation returns what the engine is to send to a standby of a pool.
func (k *Keeper) Activation(pool PoolKey, a Activation) ([]byte, error) {
	return contractOf(k.Manifest(pool)).activation(a)
}
