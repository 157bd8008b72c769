package tap

// Idler is a [Reader] that can tell whether an exchange is under way on its flow.
type Idler interface {
	// Idle reports whether all that was asked is answered, as far as the Reader
	// was given it; false also when that is not known. It is not called while
	// another method is.
	Idle() bool
}

// Idle reports whether the flow's Reader has been given all that was written,
// and knows that nothing is under way. It is false where nobody knows.
func (s *Stream) Idle() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued || s.gaps != [2]int64{} { // a worker is to tell the Reader more
		return false
	}
	reader, ok := s.reader.(Idler) // which is no worker's as long as s is locked
	return ok && reader.Idle()
}
