package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

// Failure is the class of an [Error]: why a request has no complete answer. Reports and metrics use
// it. "" means that there is no failure.
type Failure string

// Failures. [Failures] describes them.
const (
	DNS         Failure = "dns"
	Refused     Failure = "refused"
	Unreachable Failure = "unreachable"
	TLS         Failure = "tls"
	Timeout     Failure = "timeout"
	TooLong     Failure = "too_long"
	NoAnswer    Failure = "no_answer"
	Reset       Failure = "reset"
	Truncated   Failure = "truncated"
	TooLarge    Failure = "too_large"
	Protocol    Failure = "protocol"
	Canceled    Failure = "canceled"
	Damaged     Failure = "damaged"
)

// FailureDoc describes a failure.
type FailureDoc struct {
	Failure Failure
	Doc     string
}

// Failures lists all failures.
func Failures() []FailureDoc { return slices.Clone(failures) }

var failures = []FailureDoc{
	{DNS, "The target's name was not found."},
	{Refused, "The target refused the connection."},
	{Unreachable, "Connecting to the target failed for another reason."},
	{TLS, "The TLS handshake failed."},
	{Timeout, "No byte was sent or received for the timeout."},
	{TooLong, "The answer arrived slowly, and had not ended after the longest time that a request may take."},
	{NoAnswer, "The target closed the connection without an answer."},
	{Reset, "The target reset the connection or the stream."},
	{Truncated, "The connection ended in the middle of the answer."},
	{TooLarge, "The head of the answer, or a part of its framing, was larger than a client accepts."},
	{Protocol, "The answer broke the rules of its protocol, or the target does not speak it."},
	{Canceled, "The replay was stopped."},
	{Damaged, "The encoded request can't be read."},
}

// Error is returned by [Client.Send].
type Error struct {
	Failure Failure
	Err     error
}

// Error implements error.
func (e *Error) Error() string { return string(e.Failure) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func fail(f Failure, format string, args ...any) *Error {
	return &Error{f, fmt.Errorf(format, args...)}
}

// classify returns a network error with its class. begun means that a part of the answer has
// arrived.
func classify(ctx context.Context, err error, begun bool) *Error {
	var known *Error
	var (
		timeout interface{ Timeout() bool }
		op      *net.OpError
	)
	switch {
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil:
		return &Error{Canceled, context.Cause(ctx)}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Timeout, err}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &Error{Reset, err}
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"): // TLS alerts
		return &Error{TLS, err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		if begun {
			return fail(Truncated, "the connection ended in the middle of the answer")
		}
		return fail(NoAnswer, "the connection ended before an answer")
	}
	return &Error{Protocol, err}
}

// dialing returns an error of connecting with its class.
func dialing(ctx context.Context, err error) *Error {
	var name *net.DNSError
	switch {
	case ctx.Err() != nil:
		return &Error{Canceled, context.Cause(ctx)}
	case errors.As(err, &name) && !name.IsTimeout:
		return &Error{DNS, err}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &Error{Refused, err}
	}
	if e := classify(ctx, err, false); e.Failure == Timeout || e.Failure == Reset {
		return e
	}
	return &Error{Unreachable, err}
}

// handshaking returns an error of the TLS handshake with its class.
func handshaking(ctx context.Context, err error) *Error {
	if e := classify(ctx, err, false); e.Failure == Timeout || e.Failure == Canceled {
		return e
	}
	return &Error{TLS, err}
}
