package splice

import "strings"

// flow carries out a plan on a flow collection. It inserts and removes entries with a comma, on
// separate lines if the collection is spread:
//
//	{"a": 1, "b": 2}        {
//	       ▲▲▲▲▲▲▲▲           "a": 1,   ◀ this comma
//	                          "b": 2    ◀ and this line
//	                        }
func (w *walk) flow(h *extent, p *plan, col int, lay layout) {
	first, last, own := p.first(), -1, true
	for i, to := range p.to {
		if to.fate != gone {
			last = i
		} else {
			own = own && w.hasOwnLines(&h.entries[i])
		}
	}
	for _, m := range w.flowMembers(p.fresh[-1], lay) {
		if lay.spread {
			w.cuts.insert(lineStart(w.text, h.entries[first].start), lay.inner+m+","+lay.eol)
		} else {
			w.cuts.insert(h.entries[first].start, m+lay.comma)
		}
	}
	for i, to := range p.to {
		switch {
		case to.fate == gone && own:
			w.removeOwn(h, i, last)
		case to.fate == gone:
			w.removeEntry(h, i, first, last)
		default:
			w.stay(h, &h.entries[i], to, col, lay)
		}
		w.insertAfter(h, i, w.flowMembers(p.fresh[i], lay), lay)
	}
}

// takeover replaces entries that are removed with new members next to them. Replacing needs no comma,
// and keeps the comments around.
func (w *walk) takeover(h *extent, p *plan, lay layout) {
	fresh := p.fresh
	p.fresh = make(map[int][]member, len(fresh))
	rest := fresh[-1]
	last := -1
	for i, to := range p.to {
		switch {
		case to.fate == gone && len(rest) > 0:
			e := &h.entries[i]
			end := e.end()
			if _, glued := core(w.tokens[rest[0].key]); glued && commentFollows(w.text, end) {
				end = skipBlanks(w.text, end)
			}
			w.cuts.replace(e.start, end, w.successor(h, e, rest[0], lay))
			p.to[i].fate, rest, last = settled, rest[1:], i
		case to.fate != gone:
			if len(rest) > 0 {
				p.fresh[last] = rest
			}
			rest, last = fresh[i], i
		}
	}
	if len(rest) > 0 {
		p.fresh[last] = rest
	}
}

// successor writes the member that replaces an entry.
func (w *walk) successor(h *extent, e *entry, m member, lay layout) string {
	if !h.isBlock() {
		return w.render.flowMember(m, lay)
	}
	lay.quoted = somethingFollows(w.text, e.end())
	return w.render.member(m, column(w.text, h.body), lay)
}

// hasOwnLines reports whether an entry and its comma share no line with other entries.
func (w *walk) hasOwnLines(e *entry) bool {
	return beginsLine(w.text, e.start) && breakLen(w.text, commentEnd(w.text, e.outerEnd())) > 0
}

// outerEnd returns the end of the entry, including its comma, if it has one.
func (e *entry) outerEnd() int {
	if e.comma >= 0 {
		return e.comma + 1
	}
	return e.end()
}

// removeOwn removes the lines of entry i.
func (w *walk) removeOwn(h *extent, i, last int) {
	w.removeLines(h.entries[i].start, h.entries[i].outerEnd())
	if i == last+1 && h.entries[len(h.entries)-1].comma < 0 {
		// The entry that is now the last loses its comma, because the former last one had none.
		w.cuts.remove(h.entries[last].comma, h.entries[last].comma+1)
	}
}

// removeEntry removes entry i, which shares its line with others. It also removes the space after it if
// it is before all entries that remain, and the comma before it if it is after all of them.
func (w *walk) removeEntry(h *extent, i, first, last int) {
	e := &h.entries[i]
	switch {
	case i < first:
		w.cuts.remove(e.start, h.entries[i+1].start)
	case i > last:
		w.cuts.remove(h.entries[i-1].end(), e.end())
	default:
		w.cuts.remove(h.entries[i-1].comma+1, e.comma+1)
	}
}

// insertAfter inserts members after entry i.
func (w *walk) insertAfter(h *extent, i int, list []string, lay layout) {
	if len(list) == 0 {
		return
	}
	e := &h.entries[i]
	if !lay.spread {
		w.cuts.insert(e.end(), lay.comma+strings.Join(list, lay.comma))
		return
	}
	// The comma goes right after the entry, and the new lines below the rest of its line.
	after, text := e.end(), strings.Join(list, ","+lay.eol+lay.inner)
	if e.comma >= 0 {
		after, text = e.comma+1, text+","
	} else {
		w.cuts.insert(e.end(), ",")
	}
	if at := commentEnd(w.text, after); breakLen(w.text, at) > 0 {
		w.cuts.insert(at+breakLen(w.text, at), lay.inner+text+lay.eol)
	} else {
		w.cuts.insert(after, lay.eol+lay.inner+text)
	}
}

func (w *walk) flowMembers(list []member, lay layout) []string {
	out := make([]string, len(list))
	for i, m := range list {
		out[i] = w.render.flowMember(m, lay)
	}
	return out
}
