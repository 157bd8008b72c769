package recording

import "context"

// Sink takes exchanges. Its methods may be called from any goroutine.
type Sink interface {
	// Write keeps the exchange, or returns the reason why it doesn't. It never blocks. Write may
	// change the exchange, but must not keep it or any of its slices after it returns.
	Write(e *Exchange) error
	// Flush returns once all exchanges that were accepted before have left the process.
	Flush(ctx context.Context) error
	// Close flushes, makes everything durable, and releases the sink's resources. Exchanges that
	// are written later are dropped.
	Close(ctx context.Context) error
}

// Discard is a [Sink] that keeps nothing.
type Discard struct{}

// Write implements [Sink].
func (Discard) Write(*Exchange) error { return nil }

// Flush implements [Sink].
func (Discard) Flush(context.Context) error { return nil }

// Close implements [Sink].
func (Discard) Close(context.Context) error { return nil }
