package api

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"understudy/internal/observe"
	"understudy/isolation"
)

// maxMessage is the length of a status message in bytes: it travels as a
// header, percent-encoded, and some clients take no more than 8 KiB of those.
const maxMessage = 2000

// toStatus gives an error of the core its status code. What is not named here,
// a *pool.StartError above all, is Internal with its text.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	var field *isolation.FieldError
	code := codes.Internal
	switch {
	case errors.As(err, &field):
		return invalid(field.Field, "%s", field.Reason)
	case errors.Is(err, isolation.ErrUnknownPattern), errors.Is(err, isolation.ErrUnknownBinding):
		code = codes.NotFound
	case errors.Is(err, isolation.ErrNoActiveWorker):
		code = codes.FailedPrecondition
	case errors.Is(err, isolation.ErrQuarantined), errors.Is(err, isolation.ErrCrashLoop), errors.Is(err, isolation.ErrExhausted), errors.Is(err, observe.ErrTooManySubscribers):
		code = codes.ResourceExhausted
	case errors.Is(err, isolation.ErrTerminated):
		code = codes.Aborted
	case errors.Is(err, isolation.ErrClosed), errors.Is(err, observe.ErrClosed):
		code = codes.Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	}
	return status.Error(code, shorten(err.Error()))
}

// invalid blames a field of the request, by its name on the wire.
func invalid(field, format string, args ...any) error {
	if field == "session" {
		field = "session_id"
	}
	return status.Errorf(codes.InvalidArgument, field+": "+format, args...)
}

// unknown is the status of a process id that nothing is bound to.
func unknown(processID string) error {
	if len(processID) > 80 {
		processID = processID[:80] + "..."
	}
	return status.Errorf(codes.NotFound, "%v %q", isolation.ErrUnknownBinding, processID)
}

// shorten makes a message fit a header. A worker's last words may be anything.
func shorten(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxMessage {
		return s
	}
	cut := maxMessage
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + " ..."
}
