package ship

import "github.com/tapedeck/tapedeck/internal/oneline"

// maxError is the maximum length of an error in the log, in bytes, because it may quote bytes that
// a server sent.
const maxError = 500

// collectorFailed logs that the collector has not accepted a segment, once the failure lasts, or
// immediately if somebody has to fix something.
func (s *Shipper) collectorFailed(v verdict) {
	kept := v.fate == fateKept
	if s.failures < failingAfter && !kept || s.logged != "" && (s.logged == v.reason || !kept) {
		return
	}
	s.setLogged(v.reason)
	left := s.Stats()
	s.log.Warn("recordings don't reach the collector: they stay in the pod's directory until it accepts them",
		"error", oneline.Text(v.err.Error(), maxError), "reason", v.reason, "remedy", remedy(v.reason), "collector", s.o.Collector.String(),
		"directory", string(s.o.Dir), "segments", left.Segments, "bytes", left.Bytes)
}

// collectorWorks records that the collector has given a valid answer.
func (s *Shipper) collectorWorks() {
	s.failures = 0
	if s.logged == "" {
		return
	}
	s.setLogged("")
	left := s.Stats()
	s.log.Info("recordings reach the collector again", "collector", s.o.Collector.String(), "segments", left.Segments, "bytes", left.Bytes)
}

// setLogged sets the reason of the lasting failure that was logged. Only the shipper's goroutine
// calls it, so that goroutine may read the reason without the lock.
func (s *Shipper) setLogged(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logged = reason
}

// warnOnce logs the first failure with a reason that concerns a single segment.
func (s *Shipper) warnOnce(reason, what string, err error) {
	if s.warned[reason] {
		return
	}
	s.warned[reason] = true
	s.log.Warn(what, "error", oneline.Text(err.Error(), maxError), "reason", reason, "remedy", remedy(reason), "directory", string(s.o.Dir))
}
