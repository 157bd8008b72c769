package redact

// draft rewrites a text. Each replacement first copies the text since the last one. It allocates
// nothing until the first secret is replaced.
type draft struct {
	src  string
	out  []byte
	done int // how many bytes of src are in out
	max  int // the most bytes in out; the rest is cut off
	cut  bool
}

// replace replaces a secret with another text. Callers pass secrets in the order of the text. If a
// secret begins within the previous one, only the rest of it is replaced.
func (d *draft) replace(from, to int, with string) {
	if from = max(from, d.done); d.cut || from >= to {
		return
	}
	if d.out == nil {
		d.out = make([]byte, 0, min(len(d.src)+len(d.src)/8+64, d.max))
	}
	if len(d.out)+from-d.done+len(with) > d.max {
		d.out = append(d.out, d.src[d.done:min(from, d.done+d.max-len(d.out))]...)
		d.done, d.cut = len(d.src), true
		return
	}
	d.out = append(append(d.out, d.src[d.done:from]...), with...)
	d.done = to
}

// bytes returns the new text, or nil if nothing was replaced.
func (d *draft) bytes() []byte {
	if d.out == nil {
		return nil
	}
	rest := d.src[d.done:]
	if room := d.max - len(d.out); len(rest) > room {
		rest, d.cut = rest[:room], true
	}
	d.out, d.done = append(d.out, rest...), len(d.src)
	return d.out
}
