package splice

import (
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// place writes want in the place of h, whatever the two are.
func (w *walk) place(h *extent, want *yaml.Node, s slot, lay layout) {
	switch {
	case s.kind == flowSlot:
		text, spelled := w.tokens[want]
		if !spelled {
			text = join(w.anchor(h, want), w.render.flow(want, lay))
		}
		w.token(h, text, s)
	case !w.render.isBlock(want) && !w.fills(h, want):
		lay.quoted = somethingFollows(w.text, h.end)
		w.inline(h, join(w.anchor(h, want), w.render.inline(want, s, lay)), s, lay)
	default:
		w.below(h, want, s, lay)
	}
}

// fills reports whether want is the empty `{}` or `[]` of h with content, which
// becomes a block whatever style the empty one had.
func (w *walk) fills(h *extent, want *yaml.Node) bool {
	_, spelled := w.tokens[want]
	return !spelled && len(want.Content) > 0 && len(h.entries) == 0 && !h.isBlock() && sameShape(h.node, want)
}

// anchor returns the anchor of a replaced node, which aliases may need. A prescribed token has a
// separate one, if any.
func (w *walk) anchor(h *extent, want *yaml.Node) string {
	if _, spelled := w.tokens[want]; spelled || h.node.Anchor == "" {
		return ""
	}
	return "&" + h.node.Anchor
}

// scalar replaces a scalar with a scalar, in the same quotes.
func (w *walk) scalar(h *extent, want *yaml.Node, s slot, lay layout) {
	styled := *want
	if styled.Style == 0 && styled.ShortTag() == yaml.NodeTagString && h.node.ShortTag() == yaml.NodeTagString {
		styled.Style = h.node.Style &^ yaml.TaggedStyle
	}
	if tagged := h.node.Style&yaml.TaggedStyle != 0 && h.node.ShortTag() == want.ShortTag(); tagged && h.body > h.props {
		// The tag remains, and allows any spelling of the value.
		w.cuts.replace(h.body, h.end, withTag(want.Value, styled.Style, s.kind == flowSlot))
		return
	}
	if s.kind == flowSlot {
		lay.json = lay.json || styled.Style&yaml.DoubleQuotedStyle != 0
		w.token(h, join(w.anchor(h, want), w.render.flow(&styled, lay)), s)
		return
	}
	lay.quoted = styled.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 && h.node.Style&yaml.DoubleQuotedStyle != 0 ||
		somethingFollows(w.text, h.end)
	w.inline(h, join(w.anchor(h, want), w.render.inline(&styled, s, lay)), s, lay)
}

// token replaces the bytes of h. If h has none, it writes text after the indicator.
func (w *walk) token(h *extent, text string, s slot) {
	switch {
	case h.start < h.end && text == "":
		w.cuts.replace(max(s.head, backBlanks(w.text, h.start)), h.end, w.gap(h))
	case h.start < h.end && h.isBlock() && s.kind == itemSlot:
		w.cuts.replace(s.head, h.end, " "+text)
	case h.start < h.end:
		core, glued := core(text)
		if glued {
			w.cuts.replace(h.start, skipBlanks(w.text, h.end), core)
		} else {
			w.cuts.replace(h.start, h.end, core+w.gap(h))
		}
	case text != "":
		core, _ := core(text)
		w.cuts.insert(h.end, " "+core)
	}
}

// unaligned returns a token without its leading blanks, for a place that already has them.
func unaligned(token string) string { return strings.TrimLeft(token, " \t") }

// below matches the first line of a token whose value is below its indicator's line: the value's
// properties, or nothing.
var below = regexp.MustCompile(`^((?:[&!]\S*[ \t]*)*)\n`)

// core returns a token without the parts that describe its surroundings. glued reports whether a comment
// follows without a blank.
func core(token string) (core string, glued bool) {
	m := below.FindStringSubmatchIndex(token)
	if m == nil {
		token, glued = unglued(token)
		return unaligned(token), glued
	}
	value, blanks, commented := cutComment(unaligned(token[m[1]:]))
	return join(strings.TrimRight(token[:m[3]], " \t"), value), commented && blanks == ""
}

// cutComment removes the mark at a token's end that says that a comment follows, and the blanks before
// the mark.
func cutComment(token string) (bare, blanks string, commented bool) {
	end := len(token) - 1
	if end < 1 || token[end] != '#' || strings.IndexByte(" \t\"'}]", token[end-1]) < 0 {
		return token, "", false // the # belongs to the plain scalar
	}
	bare = strings.TrimRight(token[:end], " \t")
	return bare, token[len(bare):end], true
}

// unglued removes the mark that says that a comment follows without a blank.
func unglued(token string) (string, bool) {
	if bare, blanks, commented := cutComment(token); commented && blanks == "" {
		return bare, true
	}
	return token, false
}

// gap returns the space that a comment needs if it directly followed a closing quote or bracket.
func (w *walk) gap(h *extent) string {
	if h.start < h.end && h.end < len(w.text) && w.text[h.end] == '#' {
		return " "
	}
	return ""
}

// inline writes a text that begins on the indicator's line in the place of h. The text may have more
// lines: those of a block scalar.
func (w *walk) inline(h *extent, text string, s slot, lay layout) {
	if !w.isBelow(h, s) {
		if below.MatchString(text) && s.kind != rootSlot && !w.standsAlone(h, s) {
			w.lower(h, text, s, lay)
		} else {
			w.token(h, text, s)
		}
		return
	}
	from, to := lineStart(w.text, h.body), nextLine(w.text, h.end)
	if s.kind == rootSlot {
		text, _ := core(text)
		w.cuts.replace(w.rootStart(h), to, text+lay.eol)
		return
	}
	if below.MatchString(text) {
		w.lower(h, text, s, lay)
		return
	}
	text, glued := unglued(text)
	if at := w.headEnd(h, s); glued {
		w.cuts.remove(at, skipBlanks(w.text, at))
	}
	line, rest, more := strings.Cut(text, lay.eol)
	w.cuts.replace(s.head, w.headEnd(h, s), prefixed(" ", line))
	if more {
		rest += lay.eol
	}
	w.cuts.replace(from, to, rest)
}

// lower writes a token below its indicator's line, in the place of h.
func (w *walk) lower(h *extent, token string, s slot, lay layout) {
	at := below.FindStringSubmatchIndex(token)
	props := strings.TrimRight(token[:at[3]], " \t")
	value, blanks, commented := cutComment(token[at[1]:])
	if !w.isBelow(h, s) {
		if h.start < h.end && beginsLine(w.text, h.body) && props == string(w.text[h.start:h.props]) {
			w.cuts.replace(h.body, h.end, strings.TrimLeft(value, " \t"))
			return
		}
		if commentFollows(w.text, h.end) && !commented { // the comment keeps its place
			w.cuts.replace(s.head, h.end, prefixed(" ", props)+w.gap(h))
			w.cuts.insert(nextLine(w.text, h.end), value+lay.eol)
		} else {
			w.cuts.replace(max(s.head, backBlanks(w.text, h.start)), h.end, prefixed(" ", props)+lay.eol+value)
		}
		return
	}
	from, to := lineStart(w.text, h.body), nextLine(w.text, h.end)
	w.cuts.replace(s.head, w.headEnd(h, s), prefixed(" ", props))
	if commented && from > 0 {
		// The comment that was after the value is on the line above.
		above := lineAbove(w.text, from)
		if hash := skipBlanks(w.text, above); hash < from && w.text[hash] == '#' {
			w.cuts.replace(above, hash, value+blanks)
			w.cuts.remove(from, to)
			return
		}
	}
	w.cuts.replace(from, to, value+lay.eol)
}

// rootStart returns the offset at which a block collection at the root begins: that of its properties,
// or of its first line.
func (w *walk) rootStart(h *extent) int {
	if h.props > h.start {
		return h.start
	}
	return lineStart(w.text, h.body)
}

// isBelow reports whether h is a block collection on separate lines, below its indicator.
func (w *walk) isBelow(h *extent, s slot) bool {
	return h.isBlock() && beginsLine(w.text, h.body) && (s.kind == rootSlot || hasBreak(w.text, s.head, h.body))
}

// standsAlone reports whether a token is on a separate line below its indicator's line.
func (w *walk) standsAlone(h *extent, s slot) bool {
	return s.kind != rootSlot && !h.isBlock() && h.start < h.end && hasBreak(w.text, s.head, h.start) && beginsLine(w.text, h.start)
}

// headEnd returns the end of the properties of h on the indicator's line.
func (w *walk) headEnd(h *extent, s slot) int {
	if h.props > h.start {
		return h.props
	}
	return s.head
}

// below writes a block collection in the place of h.
func (w *walk) below(h *extent, want *yaml.Node, s slot, lay layout) {
	props := join(w.anchor(h, want), w.render.tag(want))
	col := lay.childColumn(want, s)
	if w.isBelow(h, s) {
		if h.node.Kind == want.Kind {
			col = column(w.text, h.body)
		}
		if s.kind == rootSlot {
			text := spaces(col) + w.render.block(want, col, lay) + lay.eol
			if props != "" {
				text = props + lay.eol + text
			}
			w.cuts.replace(w.rootStart(h), nextLine(w.text, h.end), text)
			return
		}
		w.cuts.replace(s.head, w.headEnd(h, s), prefixed(" ", props))
		w.cuts.replace(lineStart(w.text, h.body), nextLine(w.text, h.end), spaces(col)+w.render.block(want, col, lay)+lay.eol)
		return
	}
	comment := commentFollows(w.text, h.end)
	switch {
	case s.kind != rootSlot && h.props > h.start && h.start < h.body && props == string(w.text[h.start:h.props]) && beginsLine(w.text, h.body) && hasBreak(w.text, h.props, h.body):
		if comment {
			w.cuts.remove(h.body, skipBlanks(w.text, h.end))
		} else {
			w.removeLines(h.body, h.end)
		}
		w.cuts.insert(nextLine(w.text, h.end), spaces(col)+w.render.block(want, col, lay)+lay.eol)
	case props == "" && w.standsAlone(h, s):
		// The token is on a separate line, below a comment that remains.
		if comment {
			w.cuts.remove(h.start, skipBlanks(w.text, h.end))
		} else {
			w.removeLines(h.start, h.end)
		}
		w.cuts.insert(nextLine(w.text, h.end), spaces(col)+w.render.block(want, col, lay)+lay.eol)
	case s.kind == itemSlot && props == "" && (!comment || h.isBlock()):
		gap := 1
		if h.isBlock() {
			col = column(w.text, h.body)
			gap = max(1, h.start-s.head)
		} else {
			gap = max(1, col-s.col-1)
		}
		lay.quoted = somethingFollows(w.text, h.end)
		w.cuts.replace(s.head, h.end, spaces(gap)+w.render.block(want, col, lay))
	case s.kind == rootSlot && beginsLine(w.text, h.start) && props == "":
		lay.quoted = somethingFollows(w.text, h.end)
		w.cuts.replace(h.start, h.end, w.render.block(want, column(w.text, h.start), lay))
	default:
		w.cuts.replace(s.head, h.end, prefixed(" ", props)+w.gap(h))
		w.cuts.insert(nextLine(w.text, h.end), spaces(col)+w.render.block(want, col, lay)+lay.eol)
	}
}

// commentEnd skips blanks and a comment, up to the line's end.
func commentEnd(text []byte, i int) int {
	if i = skipBlanks(text, i); i < len(text) && text[i] == '#' {
		return lineEnd(text, i)
	}
	return i
}

// somethingFollows reports whether a comment or blanks follow on the line. A block scalar would have
// to end the line there.
func somethingFollows(text []byte, i int) bool {
	return i < len(text) && breakLen(text, i) == 0
}

// commentFollows reports whether only a comment follows on the line.
func commentFollows(text []byte, i int) bool {
	i = skipBlanks(text, i)
	return i < len(text) && text[i] == '#'
}

// join joins two texts with a space, unless one is empty.
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}

// prefixed puts p before s unless s is empty.
func prefixed(p, s string) string {
	if s == "" {
		return ""
	}
	return p + s
}

func spaces(n int) string { return strings.Repeat(" ", max(n, 0)) }
