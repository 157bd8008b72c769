package spool

// Reason says why an exchange was dropped. It is also the error that
// [Sink.Write] returns.
type Reason uint8

// Reasons. Each is counted separately.
const (
	// QueueFull: the store is too slow.
	QueueFull Reason = iota
	// TooLarge: the exchange is larger than the whole queue.
	TooLarge
	// StoreFailed: for example, the disk is full or the directory is gone.
	StoreFailed
	// Closed: the sink was already closed.
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
	// Accepted exchanges were taken into the queue.
	Accepted uint64
	// Pending exchanges are in the queue, or in a segment that is not complete.
	Pending uint64
	// Stored exchanges are in complete segments. They remain counted if the segment is removed.
	Stored uint64
	// QueueBytes is the encoded size of the exchanges in the queue.
	QueueBytes int
	// Dropped is indexed by [Reason].
	Dropped [reasons]uint64
	// RemovedBySize counts segments that were removed because of Options.MaxBytesKept, and
	// RemovedByFiles because of Options.MaxFilesKept. Their records remain counted as stored.
	RemovedBySize, RemovedByFiles Removed
	// Err is the store's error, or nil if the store works.
	Err error
}

// Removed counts segments that were removed.
type Removed struct{ Segments, Bytes uint64 }

// Total returns the number of dropped exchanges, for all reasons.
func (s *Stats) Total() (n uint64) {
	for _, d := range s.Dropped {
		n += d
	}
	return n
}
