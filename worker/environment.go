package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"understudy/internal/pace"
)

// ErrNotSupervised is returned by Run if the program was started by hand.
var ErrNotSupervised = errors.New("not started by understudyd (UNDERSTUDY_CONTROL_FD is not set): " +
	"put the program's folder, with its manifest.yaml, below --patterns-dir and run: understudy launch PATTERN")

// environment is what the supervisor gives a worker at its start.
type environment struct {
	control *os.File
	fence   *os.File // nil if there is none
	pattern string
	worker  string
	config  map[string]string
	pace    pace.Switches
}

func readEnvironment() (*environment, error) {
	e := &environment{
		pattern: os.Getenv("UNDERSTUDY_PATTERN"),
		worker:  os.Getenv("UNDERSTUDY_WORKER"),
		config:  map[string]string{},
		pace:    pace.FromEnvironment(),
	}
	if text := os.Getenv("UNDERSTUDY_CONFIG"); text != "" {
		if err := json.Unmarshal([]byte(text), &e.config); err != nil {
			return nil, fmt.Errorf("UNDERSTUDY_CONFIG is no JSON object of strings: %w", err)
		}
	}
	var err error
	if e.control, err = inherited("UNDERSTUDY_CONTROL_FD"); err != nil {
		return nil, err
	}
	if e.control == nil {
		return nil, ErrNotSupervised
	}
	if e.fence, err = inherited("UNDERSTUDY_FENCE_FD"); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// close closes the descriptors, which others have duplicates of.
func (e *environment) close() {
	e.control.Close()
	if e.fence != nil {
		e.fence.Close()
	}
}

// inherited returns the descriptor that a variable names, nil if it is not set.
// From here on it is not inherited any further.
func inherited(variable string) (*os.File, error) {
	text, ok := os.LookupEnv(variable)
	if !ok {
		return nil, nil
	}
	fd, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%s: %q is no descriptor", variable, text)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("%s: descriptor %d: %w", variable, fd, err)
	}
	return os.NewFile(uintptr(fd), variable), nil
}
