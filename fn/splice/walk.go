package splice

import (
	"slices"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// walk visits the extents of a text and the wanted tree together, and collects the cuts that give the
// text the wanted meaning.
type walk struct {
	text   []byte
	cuts   cuts
	habits layout // the document's layout, unless nearby content shows another one
	render renderer
	tokens map[*yaml.Node]string

	// kept maps each anchored node that remains in the text to its new content; nil if it doesn't
	// change.
	kept  map[*yaml.Node]*yaml.Node
	later []postponed
}

// postponed is work that needs the new content of all anchored nodes. order is the position of its
// cuts among those at the same offset.
type postponed struct {
	order int
	do    func()
}

func newWalk(text []byte, eol string, root *extent, tokens map[*yaml.Node]string) *walk {
	return &walk{
		text:   text,
		tokens: tokens,
		render: renderer{tokens: tokens},
		kept:   map[*yaml.Node]*yaml.Node{},
		habits: detect(text, eol, root),
	}
}

// A slot is the place of a value in its parent.
type slot struct {
	kind slotKind
	head int // after the indicator before the value
	col  int // column, from 0, of the block collection around it
}

type slotKind int

const (
	rootSlot slotKind = iota
	pairSlot          // after `key:` of a block mapping
	itemSlot          // after `-`
	flowSlot          // inside brackets
)

// rootSlotOf returns the slot of a document's root: after `---`, or on a separate line.
func rootSlotOf(text []byte, root *extent) slot {
	return slot{rootSlot, backBlanks(text, root.start), 0}
}

// postpone delays work until all anchors are settled, and reserves the position of its cuts.
func (w *walk) postpone(do func()) {
	w.later = append(w.later, postponed{w.cuts.order, do})
	w.cuts.order++
}

// settle does the postponed work.
func (w *walk) settle() {
	w.cuts.hold = true
	for _, p := range w.later {
		w.cuts.order = p.order
		p.do()
	}
}

// keepAll records that the text of h does not change.
func (w *walk) keepAll(h *extent) {
	h.each(func(x *extent) {
		if x.node.Anchor != "" {
			w.kept[x.node] = nil
		}
	})
}

// becomes returns the new content of an alias's target; nil if the target is removed.
func (w *walk) becomes(alias *yaml.Node) *yaml.Node {
	now, ok := w.kept[alias.Alias]
	if ok && now == nil {
		// An error means an alias bomb. It leaves nil, so the alias is removed.
		now, _ = Expand(alias.Alias)
		w.kept[alias.Alias] = now
	}
	return now
}

// node makes the text of h mean want.
func (w *walk) node(h *extent, want *yaml.Node, s slot, lay layout) {
	if token, ok := w.tokens[want]; ok {
		if core, _ := core(indentedBy(token, s.col)); !h.isBlock() && string(w.text[h.start:h.end]) == core {
			w.keepAll(h)
		} else {
			w.place(h, want, s, lay)
		}
		return
	}
	if h.node.Kind == yaml.AliasNode {
		w.postpone(func() {
			if now := w.becomes(h.node); now == nil || !Equal(now, want) {
				w.place(h, want, s, lay)
			}
		})
		return
	}
	if h.node.Anchor != "" {
		w.kept[h.node] = want
	}
	same := sameShape(h.node, want)
	switch {
	case same && want.Kind == yaml.ScalarNode:
		if !sameScalar(h.node, want) {
			w.scalar(h, want, s, lay)
		}
	case h.node.Kind == yaml.ScalarNode && want.Kind == yaml.ScalarNode:
		w.scalar(h, want, s, lay)
	case same && len(h.entries) == 0 && len(want.Content) == 0:
	case !same || len(h.entries) == 0 || len(want.Content) == 0:
		w.place(h, want, s, lay)
	case want.Kind == yaml.MappingNode:
		w.mapping(h, want, s, lay)
	default:
		w.sequence(h, want, s, lay)
	}
}

// A member is a pair of the wanted mapping, or, without a key, an item.
type member struct {
	key, value *yaml.Node
	lines      string // its present lines if it moves; "" for a new member
}

// A plan says what happens to a collection's entries.
type plan struct {
	to    []outcome
	fresh map[int][]member // new members after entry i; -1: before the first
}

// An outcome says what happens to one entry, and has the member of an edited one.
type outcome struct {
	fate
	member
}

type fate int

const (
	gone    fate = iota
	edited       // the walk continues in its value
	stays        // unchanged
	settled      // earlier cuts have already handled it
)

// first returns the index of the first entry that remains; -1 if none does.
func (p *plan) first() int {
	return slices.IndexFunc(p.to, func(o outcome) bool { return o.fate != gone })
}

// carry carries out the plan for the entries of h: it walks into those that remain, then adds and
// removes entries.
func (w *walk) carry(h *extent, want *yaml.Node, p *plan, s slot, lay layout) {
	inner := lay.within(w.text, h)
	if h.isBlock() && h.node.Kind == yaml.MappingNode || !h.isBlock() && h.braced(w.text) {
		w.takeover(h, p, inner)
	}
	if p.first() < 0 || !h.isBlock() && !h.braced(w.text) && (p.to[0].fate == gone || len(p.fresh) > 0) {
		w.place(h, want, s, lay)
		return
	}
	if h.isBlock() {
		w.block(h, p, inner)
	} else {
		w.flow(h, p, s.col, inner)
	}
}

// stay walks into an entry that remains. col is the column of the block collection that contains the
// entry, directly or not.
func (w *walk) stay(h *extent, e *entry, to outcome, col int, lay layout) {
	if to.fate == settled {
		return
	}
	if e.key != nil {
		w.keepAll(e.key)
	}
	s := slot{pairSlot, e.head, col}
	switch {
	case to.fate == stays:
		w.keepAll(e.value)
		return
	case !h.isBlock():
		s.kind = flowSlot
	case e.key == nil:
		s.kind = itemSlot
	}
	if e.head >= 0 {
		w.node(e.value, to.value, s, lay)
	} else if to.value.ShortTag() != yaml.NodeTagNull {
		w.colon(e, to.member, s, lay)
	}
}

// colon adds a value to `? key`, which has no colon yet.
func (w *walk) colon(e *entry, m member, s slot, lay layout) {
	if s.kind == flowSlot {
		w.cuts.replace(e.start, e.end(), w.render.flowMember(m, lay))
		return
	}
	w.cuts.insert(nextLine(w.text, e.end()), spaces(s.col)+":"+w.render.after(m.value, s, lay)+lay.eol)
}

// mapping edits a mapping. It matches entries by their keys.
func (w *walk) mapping(h *extent, want *yaml.Node, s slot, lay layout) {
	p := &plan{to: make([]outcome, len(h.entries))}
	if w.pairUp(h, want, p) {
		w.carry(h, want, p, s, lay)
		return
	}
	p.fresh = map[int][]member{}
	var seen occurrences
	old := make(map[string]int, len(h.entries))
	merges := 0
	last := -1
	for i := range h.entries {
		if k := h.entries[i].key.node; isMerge(k) {
			p.to[i].fate = stays
			if merges++; merges == i+1 {
				last = i // new members before any known key go below `<<`
			}
		} else {
			old[seen.number(keyID(k))] = i
		}
	}
	seen = nil
	for j := 0; j+1 < len(want.Content); j += 2 {
		m := member{key: want.Content[j], value: want.Content[j+1]}
		if i, ok := old[seen.number(keyID(m.key))]; ok {
			p.to[i], last = outcome{edited, m}, i
		} else {
			p.fresh[last] = append(p.fresh[last], m)
		}
	}
	if merges > 0 {
		w.merged(h, want, p, s, lay)
		return
	}
	w.carry(h, want, p, s, lay)
}

// pairUp fills the plan if both mappings have the same keys in the same order. This is the usual case
// and needs no table.
func (w *walk) pairUp(h *extent, want *yaml.Node, p *plan) bool {
	if 2*len(h.entries) != len(want.Content) {
		return false
	}
	for i := range h.entries {
		k := want.Content[2*i]
		if old := h.entries[i].key.node; isMerge(old) || !sameKey(old, k) {
			return false
		}
		p.to[i] = outcome{edited, member{key: k, value: want.Content[2*i+1]}}
	}
	return true
}
