package tap

// Idler is a [Reader] that can report whether an exchange is open on its flow.
type Idler interface {
	// Idle reports whether all requests that the Reader was given have been answered. It
	// returns false if that is not known. It is never called while another method runs.
	Idle() bool
}

// Idle reports whether the flow's Reader has been given all bytes that were written, and
// reports itself that no exchange is open. It returns false if that is not known.
func (s *Stream) Idle() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued || s.gaps != [2]int64{} { // the Reader has not been given everything
		return false
	}
	reader, ok := s.reader.(Idler) // no worker calls it while s is locked
	return ok && reader.Idle()
}
