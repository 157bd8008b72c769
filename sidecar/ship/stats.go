package ship

import (
	"maps"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// Stats counts what a shipper has done, and what waits.
type Stats struct {
	// Shipped segments are stored, as the collector says; ShippedBytes is their size.
	Shipped, ShippedBytes uint64
	// Failures counts attempts that did not store a segment, by the code of a [Reason].
	Failures map[string]uint64
	// SetAside segments can't be read, or will never be taken.
	SetAside uint64
	// Adopted segments were left by a killed process, and completed. Empty ones had no
	// whole record.
	Adopted, Empty uint64
	// Segments wait in the spool; Bytes is their size.
	Segments int
	Bytes    int64
	// Oldest is when the oldest of them was begun; zero if none waits.
	Oldest time.Time
	// Last is when the collector last said that it has stored a segment; zero: it never did.
	Last time.Time
	// LastFailure is the last attempt that stored nothing; its Err is nil if there was none.
	LastFailure Failure
	// Failing tells that the collector takes nothing.
	Failing bool
}

// Failure is an attempt that did not store a segment.
type Failure struct {
	Time time.Time
	// Reason is the code of a [Reason].
	Reason string
	Err    error
}

// Stats returns the counts as of now. What waits is looked up in the directory: an attempt
// may take minutes, and segments are completed meanwhile.
func (s *Shipper) Stats() Stats {
	s.mu.Lock()
	stats := s.stats
	stats.Failures = maps.Clone(stats.Failures)
	stats.Failing = s.logged != ""
	s.mu.Unlock()

	found, err := s.o.Dir.Segments()
	if err != nil { // the shipper's own look counts that as a failure
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
