package ship

import "github.com/tapedeck/tapedeck/internal/oneline"

// maxError bounds what the log says of an error, in bytes: it may quote what a server sent.
const maxError = 500

// collectorFailed notes that the collector has not taken a segment, and logs it once it is certain
// that this is no passing failure, or somebody must do something about it.
func (s *Shipper) collectorFailed(v verdict) {
	kept := v.fate == fateKept
	if s.failures < failingAfter && !kept || s.logged != "" && (s.logged == v.reason || !kept) {
		return
	}
	s.setLogged(v.reason)
	left := s.Stats()
	s.log.Warn("recordings don't reach the collector: they stay in the pod's directory until it takes them",
		"error", oneline.Text(v.err.Error(), maxError), "reason", v.reason, "remedy", remedy(v.reason), "collector", s.o.Collector.String(),
		"directory", string(s.o.Dir), "segments", left.Segments, "bytes", left.Bytes)
}

// collectorWorks notes that the collector has answered as it should.
func (s *Shipper) collectorWorks() {
	s.failures = 0
	if s.logged == "" {
		return
	}
	s.setLogged("")
	left := s.Stats()
	s.log.Info("recordings reach the collector again", "collector", s.o.Collector.String(), "segments", left.Segments, "bytes", left.Bytes)
}

// setLogged notes which failure that lasts was logged. The goroutine alone calls it, so it may
// read the reason without the lock.
func (s *Shipper) setLogged(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logged = reason
}

// warnOnce logs the first failure of a kind that is a segment's own.
func (s *Shipper) warnOnce(reason, what string, err error) {
	if s.warned[reason] {
		return
	}
	s.warned[reason] = true
	s.log.Warn(what, "error", oneline.Text(err.Error(), maxError), "reason", reason, "remedy", remedy(reason), "directory", string(s.o.Dir))
}
