package redact

// draft is a text that is being rewritten: what stands between the secrets is copied
// when the next one is replaced. Nothing is allocated until there is one.
type draft struct {
	src  string
	out  []byte
	done int // of src, that out has
	max  int // bytes of out; what goes beyond them is cut off
	cut  bool
}

// replace puts another text in the place of a secret. Secrets come in their order; of one
// that begins in another, the rest is replaced.
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

// bytes returns the new text; nil if it is the old one.
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
