package http1

// Idle implements [tap.Idler].
func (c *conn) Idle() bool { return !c.gone && len(c.waiting) == 0 && len(c.early.Bytes()) == 0 }
