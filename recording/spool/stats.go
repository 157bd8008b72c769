package spool

// Reason says why an exchange was dropped. It is also the error that
// [Sink.Write] returns.
type Reason uint8

// Reasons, each counted on its own.
const (
	// QueueFull: the disk, or what else is behind the queue, is too slow.
	QueueFull Reason = iota
	// TooLarge: the exchange alone is larger than the queue.
	TooLarge
	// StoreFailed: for example, the disk is full or the directory is gone.
	StoreFailed
	// Closed: the sink was closed already.
	Closed
	// RedactPanic: the search for secrets met a bug, so nobody knows what is secret in the exchange.
	RedactPanic
	reasons
)

// Reasons lists every reason, in order.
func Reasons() []Reason { return []Reason{QueueFull, TooLarge, StoreFailed, Closed, RedactPanic} }

// String gives the reason as a metric's label has it.
func (r Reason) String() string {
	return [reasons]string{"queue_full", "too_large", "store_failed", "closed", "redact_panic"}[r]
}

// Error implements error.
func (r Reason) Error() string { return "exchange dropped: " + r.String() }

// Stats counts exchanges. Accepted = Stored + Pending + Dropped[StoreFailed].
type Stats struct {
	// Accepted were taken into the queue.
	Accepted uint64
	// Pending are in the queue, or in a segment that is not complete.
	Pending uint64
	// Stored are in complete segments. What is stored once, stays counted.
	Stored uint64
	// QueueBytes is what of the pending ones is in the queue, encoded.
	QueueBytes int
	// Dropped is indexed by [Reason].
	Dropped [reasons]uint64
	// RemovedBySize made room for others, by Options.MaxBytesKept; RemovedByFiles did
	// so by Options.MaxFilesKept. Their records stay counted as stored.
	RemovedBySize, RemovedByFiles Removed
	// Err is what is wrong with the store; nil if it works.
	Err error
}

// Removed counts segments that were removed.
type Removed struct{ Segments, Bytes uint64 }

// Total is the number of dropped exchanges, whatever the reason.
func (s *Stats) Total() (n uint64) {
	for _, d := range s.Dropped {
		n += d
	}
	return n
}
