package heir

import "errors"

// Name is the heir's command name (comm), as ps and top show it. Its command
// line is the worker's: it is read from the memory they share.
const Name = "understudy-heir"

// ErrNotSupported is returned by Start where the kernel, the architecture or a
// sandbox does not allow an heir. The worker goes on without one.
var ErrNotSupported = errors.New("heir not supported")
