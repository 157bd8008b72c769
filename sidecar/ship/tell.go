package ship

import "github.com/tapedeck/tapedeck/internal/oneline"

// maxError bounds what the log says of an error, in bytes: it may quote what a server sent.
const maxError = 500

// fails notes that the collector has not taken a segment, and tells once it is certain
// that this is no passing failure, or somebody must do something about it.
func (s *Shipper) fails(v verdict) {
	kept := v.fate == fateKept
	if s.failures < failingAfter && !kept || s.told != "" && (s.told == v.reason || !kept) {
		return
	}
	s.told = v.reason
	s.setFailing(true)
	left := s.Stats()
	s.log.Warn("recordings don't reach the collector: they stay in the pod's directory until it takes them",
		"error", oneline.Text(v.err.Error(), maxError), "reason", v.reason, "remedy", remedy(v.reason), "collector", s.o.Collector.String(),
		"directory", string(s.o.Dir), "segments", left.Segments, "bytes", left.Bytes)
}

// works notes that the collector has answered as it should.
func (s *Shipper) works() {
	s.failures = 0
	if s.told == "" {
		return
	}
	s.told = ""
	s.setFailing(false)
	left := s.Stats()
	s.log.Info("recordings reach the collector again", "collector", s.o.Collector.String(), "segments", left.Segments, "bytes", left.Bytes)
}

func (s *Shipper) setFailing(failing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Failing = failing
}

// warnOnce tells of the first failure of a kind that is a segment's own.
func (s *Shipper) warnOnce(reason, what string, err error) {
	if s.warned[reason] {
		return
	}
	s.warned[reason] = true
	s.log.Warn(what, "error", oneline.Text(err.Error(), maxError), "reason", reason, "remedy", remedy(reason), "directory", string(s.o.Dir))
}
