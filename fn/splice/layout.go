package splice

import (
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// A layout is the format of new content. It follows the surrounding content.
type layout struct {
	step int    // block: a mapping's column minus that of the surrounding mapping
	seq  int    // block: a sequence's column minus that of its key
	dash int    // block: an item's column minus that of its dash
	eol  string // line break

	comma, colon string // flow: the separators between entries, and between key and value
	json         bool   // flow: strings are in double quotes
	spread       bool   // flow: each entry is on a separate line
	inner, unit  string // flow, spread: indentation of an entry, and of a level
	tight        bool   // flow: the collection is spread, but its entries are not

	quoted bool // text with several lines is in quotes, not in a block scalar
}

func defaultLayout(eol string) layout {
	return layout{step: 2, seq: 0, dash: 2, eol: eol, comma: ", ", colon: ": ", unit: "  "}
}

// detect returns a document's layout, from its first collections.
func detect(text []byte, eol string, root *extent) layout {
	lay := defaultLayout(eol)
	found := habit{-1, -1, -1}
	found.search(text, root)
	return lay.follow(found)
}

// A habit is a block layout; -1 means unknown.
type habit struct{ step, seq, dash int }

func (lay layout) follow(h habit) layout {
	if h.step > 0 {
		lay.step = h.step
	}
	if h.seq >= 0 {
		lay.seq = h.seq
	}
	if h.dash > 1 {
		lay.dash = h.dash
	}
	return lay
}

func (f *habit) known() bool { return f.step >= 0 && f.seq >= 0 && f.dash >= 0 }

// search walks a tree until the whole habit is known.
func (f *habit) search(text []byte, x *extent) {
	if !x.isBlock() {
		return
	}
	f.look(text, x)
	for i := range x.entries {
		if f.known() {
			return
		}
		f.search(text, x.entries[i].value)
	}
}

// look learns from the direct children of a block collection.
func (f *habit) look(text []byte, x *extent) {
	col := -1
	for i := range x.entries {
		v := x.entries[i].value
		if !v.isBlock() {
			continue
		}
		var to *int
		switch below := beginsLine(text, v.body); {
		case x.node.Kind == yaml.SequenceNode && !below:
			to = &f.dash
		case x.node.Kind == yaml.MappingNode && below && v.node.Kind == yaml.SequenceNode:
			to = &f.seq
		case x.node.Kind == yaml.MappingNode && below:
			to = &f.step
		}
		if to == nil || *to >= 0 {
			continue
		}
		if col < 0 {
			col = column(text, x.body)
		}
		*to = column(text, v.body) - col
		if f.known() || x.node.Kind == yaml.SequenceNode {
			return
		}
	}
}

// within returns the layout for the content of h.
func (lay layout) within(text []byte, h *extent) layout {
	if h.isBlock() {
		near := habit{-1, -1, -1}
		near.look(text, h)
		return lay.follow(near)
	}
	if len(h.entries) == 0 || !h.braced(text) {
		return lay
	}
	first := &h.entries[0]
	named := first.value
	if first.key != nil {
		named = first.key
		if first.head >= 0 && !hasBreak(text, first.key.end, first.value.start) && first.value.start > first.head-1 {
			lay.colon = string(text[first.key.end:first.value.start])
		}
		if lay.colon == ":" {
			lay.comma = ","
		}
	}
	if named.node.Kind == yaml.ScalarNode && named.node.ShortTag() == yaml.NodeTagString {
		lay.json = named.node.Style&yaml.DoubleQuotedStyle != 0
	}
	if len(h.entries) > 1 && !hasBreak(text, first.end(), h.entries[1].start) {
		if c := strings.TrimLeft(string(text[first.end():h.entries[1].start]), " \t"); strings.Trim(c, " \t") == "," {
			lay.comma = c
		}
	}
	lay.spread = beginsLine(text, first.start)
	if lay.spread {
		lay.tight = tight(text, h)
		lay.inner = string(text[lineStart(text, first.start):first.start])
		outer := ""
		if at := h.end - 1; beginsLine(text, at) {
			outer = string(text[lineStart(text, at):at])
		}
		if u := strings.TrimPrefix(lay.inner, outer); u != "" && u != lay.inner || outer == "" && u != "" {
			lay.unit = u
		}
	}
	return lay
}

// deeper returns the layout one level deeper, for a spread flow collection.
func (lay layout) deeper() layout {
	lay.inner += lay.unit
	lay.spread = lay.spread && !lay.tight
	return lay
}

// tight reports whether the first entry of h that is a collection with content
// is not spread over lines.
func tight(text []byte, h *extent) bool {
	for i := range h.entries {
		if v := h.entries[i].value; len(v.entries) > 0 {
			return !hasBreak(text, v.start, v.end)
		}
	}
	return false
}

// childColumn returns the column of a new block collection in a slot.
func (lay layout) childColumn(n *yaml.Node, s slot) int {
	switch {
	case s.kind == rootSlot:
		return 0
	case s.kind == itemSlot:
		return s.col + lay.dash
	case n.Kind == yaml.SequenceNode:
		return s.col + lay.seq
	}
	return s.col + lay.step
}
