package splice

import (
	"cmp"
	"slices"
)

// A cut replaces text[start:end] with another text.
type cut struct {
	start, end int
	with       string
	order      int
}

// cuts collects the changes of a round. Cuts at the same offset apply in the order of their numbers,
// and insertions come before replacements.
type cuts struct {
	list  []cut
	order int  // number of the next cut
	hold  bool // use one number for several cuts
}

func (c *cuts) replace(start, end int, with string) {
	if start == end && with == "" {
		return
	}
	c.list = append(c.list, cut{start, end, with, c.order})
	if !c.hold {
		c.order++
	}
}

func (c *cuts) insert(at int, with string) { c.replace(at, at, with) }
func (c *cuts) remove(start, end int)      { c.replace(start, end, "") }

// apply makes all cuts in one pass over text.
func (c *cuts) apply(text []byte) ([]byte, error) {
	slices.SortStableFunc(c.list, func(a, b cut) int {
		return cmp.Or(
			cmp.Compare(a.start, b.start),
			cmp.Compare(min(a.end-a.start, 1), min(b.end-b.start, 1)),
			cmp.Compare(a.order, b.order),
		)
	})
	size := len(text)
	for _, k := range c.list {
		size += len(k.with)
	}
	out, at := make([]byte, 0, size), 0
	for _, k := range c.list {
		if k.start < at || k.end < k.start {
			return nil, errLost
		}
		out = append(out, text[at:k.start]...)
		out = append(out, k.with...)
		at = k.end
	}
	return append(out, text[at:]...), nil
}
