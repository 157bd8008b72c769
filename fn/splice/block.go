package splice

import "strings"

// block carries out a plan on a block collection. Its entries are on separate lines, except that the
// first one may share its line with the indicator before the collection:
//
//   - name: a      ◀ shares the line of "-"
//     image: b
func (w *walk) block(h *extent, p *plan, lay layout) {
	col := column(w.text, h.body)
	shared := !beginsLine(w.text, h.body)
	first := p.first()
	head := w.members(p.fresh[-1], col, lay)
	switch {
	case shared && first == 0:
		for _, m := range head {
			w.cuts.insert(h.entries[0].start, m+lay.eol+spaces(col))
		}
	case shared:
		w.firstLine(h, first, head, col, lay)
	default:
		for _, m := range head {
			w.cuts.insert(lineStart(w.text, h.entries[first].start), spaces(col)+m+lay.eol)
		}
	}
	for i := range h.entries {
		e := &h.entries[i]
		if p.to[i].fate == gone {
			if !shared || i > first {
				w.removeLines(e.start, e.end())
			}
			continue
		}
		w.stay(h, e, p.to[i], col, lay)
		for _, m := range w.members(p.fresh[i], col, lay) {
			w.cuts.insert(nextLine(w.text, e.end()), spaces(col)+m+lay.eol)
		}
	}
}

// firstLine removes the entries before the first one that remains, if the very first one shares its line
// with an indicator. head replaces them.
func (w *walk) firstLine(h *extent, first int, head []string, col int, lay layout) {
	e := &h.entries[0]
	switch {
	case len(head) > 0:
		w.cuts.replace(e.start, e.end(), strings.Join(head, lay.eol+spaces(col)))
	case skipSpaceOnly(w.text, h.entries[first-1].end()) == h.entries[first].start:
		w.cuts.remove(e.start, h.entries[first].start)
		return
	default:
		// There is a comment between them. It keeps its line, and so does the entry.
		w.cuts.remove(backBlanks(w.text, e.start), e.end())
	}
	for i := 1; i < first; i++ {
		w.removeLines(h.entries[i].start, h.entries[i].end())
	}
}

// removeLines removes the lines of text[start:end].
func (w *walk) removeLines(start, end int) {
	w.cuts.remove(lineStart(w.text, start), nextLine(w.text, end))
}

// members writes new members of a block collection at a column.
func (w *walk) members(list []member, col int, lay layout) []string {
	out := make([]string, len(list))
	for i, m := range list {
		out[i] = w.render.member(m, col, lay)
	}
	return out
}
