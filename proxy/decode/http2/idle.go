package http2

// Idle implements [tap.Idler]. It reports whether no stream is open and no frame has begun.
func (c *conn) Idle() bool {
	for i := range c.sides {
		if h := &c.sides[i]; h.have > 0 || h.block != 0 {
			return false
		}
	}
	return len(c.streams) == 0 && !c.ignored
}
