package isolation

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// portRest is how long the port of a binding that ended is given to no other:
	// clients that keep the address must not reach another tenant.
	portRest = time.Minute
	// maxResting bounds the ports that rest; beyond it the oldest go.
	maxResting = 256
)

// restingPort is a TCP address that is bound and refuses connections.
type restingPort struct {
	processID, address string
	socket             int
	since              time.Time
}

// restingPorts are those of bindings that ended, the oldest first.
type restingPorts []restingPort

// put takes the socket of a binding that ended.
func (r *restingPorts) put(p restingPort) {
	*r = append(*r, p)
	for len(*r) > 0 && (len(*r) > maxResting || time.Since((*r)[0].since) > portRest) {
		unix.Close((*r)[0].socket)
		*r = (*r)[1:]
	}
}

// take frees the newest port of a process id and returns its address, "" for
// none.
func (r *restingPorts) take(processID string) string {
	for i := len(*r) - 1; i >= 0; i-- {
		if p := (*r)[i]; p.processID == processID {
			unix.Close(p.socket)
			*r = append((*r)[:i], (*r)[i+1:]...)
			return p.address
		}
	}
	return ""
}
