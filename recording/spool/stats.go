package spool

// Reason says why an exchange was dropped. It is also the error that
// [Sink.Write] returns.
type Reason uint8

// Reasons. Each is counted separately.
const (
	// QueueFull: the store behind the queue is too slow.
	QueueFull Reason = iota
	// TooLarge: the exchange alone is larger than the queue.
	TooLarge
	// StoreFailed: for example, the disk is full or the directory is gone.
	StoreFailed
	// Closed: the sink was closed already.
	Closed
	// RedactPanic: the search for secrets panicked, so the exchange may still have secrets.
	RedactPanic
	reasons
)

// Reasons lists every reason, in order.
func Reasons() []Reason { return []Reason{QueueFull, TooLarge, StoreFailed, Closed, RedactPanic} }

// String returns the reason as the label of a metric.
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
	// Stored are in complete segments. They stay counted if the segment is removed.
	Stored uint64
	// QueueBytes is the encoded size of the exchanges in the queue.
	QueueBytes int
	// Dropped is indexed by [Reason].
	Dropped [reasons]uint64
	// RemovedBySize counts segments that were removed because of Options.MaxBytesKept, and
	// RemovedByFiles because of Options.MaxFilesKept. Their records stay counted as stored.
	RemovedBySize, RemovedByFiles Removed
	// Err is the store's error; nil if it works.
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
