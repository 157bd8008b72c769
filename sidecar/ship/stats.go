package ship

import (
	"maps"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// Stats counts the segments that a shipper has sent and those that wait.
type Stats struct {
	// Shipped is the number of segments that the collector has stored; ShippedBytes is their
	// size.
	Shipped, ShippedBytes uint64
	// Failures counts attempts that did not store a segment, by the code of a [Reason].
	Failures map[string]uint64
	// SetAside is the number of segments that can't be read, or that the collector will
	// never accept.
	SetAside uint64
	// Adopted is the number of segments of killed processes that were completed, and Empty
	// of those that were removed because they had no complete record.
	Adopted, Empty uint64
	// Segments is the number of segments that wait in the spool; Bytes is their size.
	Segments int
	Bytes    int64
	// Oldest is when the oldest of them began; zero if none waits.
	Oldest time.Time
	// Last is when the collector last confirmed a segment; zero: it never did.
	Last time.Time
	// LastFailure is the last failed attempt; its Err is nil if there was none.
	LastFailure Failure
	// Failing says that shipping has failed for some time.
	Failing bool
}

// Failure is an attempt that did not store a segment.
type Failure struct {
	Time time.Time
	// Reason is the code of a [Reason].
	Reason string
	Err    error
}

// Stats returns the current counts. It lists the directory to count the segments that wait,
// because more may have been completed since the last attempt, which may take minutes.
func (s *Shipper) Stats() Stats {
	s.mu.Lock()
	stats := s.stats
	stats.Failures = maps.Clone(stats.Failures)
	stats.Failing = s.logged != ""
	s.mu.Unlock()

	found, err := s.o.Dir.Segments()
	if err != nil { // the shipper's goroutine gets the same error and counts it
		return stats
	}
	all := waiting(found)
	for _, f := range all {
		stats.Bytes += f.Size
	}
	if stats.Segments = len(all); stats.Segments > 0 {
		key, _ := recording.ParseSegmentKey(all[len(all)-1].Name)
		stats.Oldest = key.Began
	}
	return stats
}
