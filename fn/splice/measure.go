package splice

import (
	"errors"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// An extent is a node and the bytes that spell it. The parser gives the beginning of a node, but not
// its end. measure finds the rest.
//
//	key: &anchor !tag "value"  # comment
//	     ▲            ▲      ▲
//	     start        body   end
type extent struct {
	node    *yaml.Node
	start   int // offset of its first byte, or that of its properties
	props   int // after the properties (anchor, tag); start if there are none
	body    int // the first byte after the properties and white space
	end     int // after its last byte
	entries []entry
}

// An entry is a pair of a mapping or an item of a sequence.
//
//	? key : value          - value          {key: value ,
//	▲      ▲               ▲▲                ▲   ▲      ▲
//	start  head         start head       start   head   comma
type entry struct {
	start int     // its indicator, or the key's first byte
	head  int     // after the indicator that brings the value; -1 if there is none
	comma int     // flow style: the comma after the entry; -1 if there is none
	key   *extent // nil for an item
	value *extent
}

// end returns the end of the entry's last token.
func (e *entry) end() int {
	switch {
	case e.head < 0:
		return e.key.end
	case e.value.end > e.head:
		return e.value.end
	}
	return e.head
}

// errLost means that text and nodes don't match. The caller then encodes the document again.
var errLost = errors.New("the text is not where its nodes say")

// measure finds the extents of a parsed tree in its text, in one pass.
func measure(text []byte, root *yaml.Node) (*extent, error) {
	m := measurer{text: text, line: 1, column: 1}
	if len(text) >= 3 && string(text[:3]) == byteOrderMark {
		m.offset = 3
	}
	x := m.node(root, -1, false, m.locate(root))
	if m.lost || x.end > len(text) {
		return nil, errLost
	}
	return x, nil
}

// measurer only reads forwards, because nodes have the same order in the tree and in the text.
type measurer struct {
	text                 []byte
	line, column, offset int // of the node located last, counted from 1, 1, 0
	lost                 bool
	slab                 []extent
}

// locate turns a node's line and column, in characters, into an offset.
func (m *measurer) locate(n *yaml.Node) int {
	for m.line < n.Line && m.offset < len(m.text) {
		if k := breakLen(m.text, m.offset); k > 0 {
			m.line, m.column, m.offset = m.line+1, 1, m.offset+k
		} else {
			m.offset++
		}
		if m.line < n.Line {
			continue
		}
		m.column = 1
	}
	if n.Line != m.line || n.Column < m.column {
		m.lost = true
		return m.offset
	}
	for m.column < n.Column && m.offset < len(m.text) {
		if m.text[m.offset] < utf8.RuneSelf {
			m.offset++
		} else {
			_, k := utf8.DecodeRune(m.text[m.offset:])
			m.offset += k
		}
		m.column++
	}
	return m.offset
}

// node measures n. indent is the column, from 0, of the surrounding block collection; -1 at the top.
// head is the offset of n if it is an empty scalar.
func (m *measurer) node(n *yaml.Node, indent int, flow bool, head int) *extent {
	if len(m.slab) == 0 {
		m.slab = make([]extent, 256)
	}
	x := &m.slab[0]
	m.slab = m.slab[1:]
	x.node = n
	if m.lost {
		return x
	}
	if head >= 0 && isNothing(n) {
		x.start, x.props, x.body, x.end = head, head, head, head
		// Nodes don't show a tag `!` alone. It belongs to this node if it is indented further than the
		// surrounding collection.
		if i := skipSpace(m.text, head); i < len(m.text) && m.text[i] == '!' && (flow || column(m.text, i) > indent) {
			x.start, x.props, x.body, x.end = i, i+1, i+1, i+1
		}
		return x
	}
	x.start = m.locate(n)
	x.props, x.body = x.start, x.start
	switch n.Kind {
	case yaml.AliasNode:
		x.end = skipName(m.text, x.start+1)
	case yaml.ScalarNode:
		m.properties(x)
		empty := n.Value == "" && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
		if empty {
			x.body, x.end = x.props, x.props
		} else {
			x.end = scalarEnd(m.text, x.body, n.Style, indent, flow)
		}
	case yaml.MappingNode:
		m.mapping(x, indent, flow)
	case yaml.SequenceNode:
		m.sequence(x, indent, flow)
	default:
		m.lost = true
	}
	return x
}

// isNothing reports whether a node is written with zero bytes.
func isNothing(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 && n.Anchor == "" && n.ShortTag() == yaml.NodeTagNull
}

// properties skips the anchor and the tag before a node's content, but only those that belong to the
// node. An empty node may be right before a key with its own properties.
func (m *measurer) properties(x *extent) {
	n := x.node
	anchor, tag := n.Anchor != "", n.Style&yaml.TaggedStyle != 0 || n.Value != "" || n.Kind != yaml.ScalarNode
	i := x.start
	for i < len(m.text) {
		switch {
		case anchor && m.text[i] == '&':
			anchor = false
			i = skipName(m.text, i+1)
		case tag && m.text[i] == '!':
			tag = false
			i = skipTag(m.text, i+1)
		default:
			x.body = i
			return
		}
		x.props = i
		i = skipSpace(m.text, i)
	}
	x.body = i
}

func (m *measurer) mapping(x *extent, indent int, flow bool) {
	n := x.node
	first := len(n.Content) > 0 && n.Content[0].Line == n.Line && n.Content[0].Column == n.Column
	if !first {
		m.properties(x)
	}
	if n.Style&yaml.FlowStyle != 0 {
		m.flow(x, indent, '{', '}')
		return
	}
	if flow || len(n.Content) == 0 {
		m.lost = true
		return
	}
	indent = column(m.text, x.body)
	x.entries = make([]entry, 0, len(n.Content)/2)
	at := x.body
	for i := 0; i+1 < len(n.Content) && !m.lost; i += 2 {
		e := m.pair(n.Content[i], n.Content[i+1], at, indent, false)
		x.entries = append(x.entries, e)
		at = e.end()
	}
	x.end = at
}

// pair measures a key and its value, which begin after text[:at].
func (m *measurer) pair(k, v *yaml.Node, at, indent int, flow bool) entry {
	e := entry{start: skipSpace(m.text, at), head: -1, comma: -1}
	keyHead := e.start
	explicit := e.start < len(m.text) && m.text[e.start] == '?' && (flow || isBlankOrEnd(m.text, e.start+1))
	if explicit {
		keyHead++
	}
	e.key = m.node(k, indent, flow, keyHead)
	if !explicit && e.key.start != e.start {
		m.lost = true
	}
	colon := skipSpace(m.text, e.key.end)
	own := flow || !explicit || column(m.text, colon) == indent // otherwise it belongs to an outer `?`
	if own && colon < len(m.text) && m.text[colon] == ':' && (flow || isBlankOrEnd(m.text, colon+1)) {
		e.head = colon + 1
		e.value = m.node(v, indent, flow, e.head)
		return e
	}
	if !isNothing(v) {
		m.lost = true
	}
	e.value = &extent{node: v, start: e.key.end, props: e.key.end, body: e.key.end, end: e.key.end}
	return e
}

func (m *measurer) sequence(x *extent, indent int, flow bool) {
	n := x.node
	if n.Style&yaml.FlowStyle != 0 {
		m.properties(x)
		m.flow(x, indent, '[', ']')
		return
	}
	m.properties(x)
	if flow || len(n.Content) == 0 {
		m.lost = true
		return
	}
	indent = column(m.text, x.body)
	x.entries = make([]entry, 0, len(n.Content))
	at := x.body
	for _, c := range n.Content {
		start := skipSpace(m.text, at)
		if m.lost || start >= len(m.text) || m.text[start] != '-' {
			m.lost = true
			return
		}
		e := entry{start: start, head: start + 1, comma: -1}
		e.value = m.node(c, indent, false, e.head)
		x.entries = append(x.entries, e)
		at = e.end()
	}
	x.end = at
}

// flow measures the entries of a flow collection and its closing bracket. A mapping with one pair
// inside a flow sequence, `[a: b]`, has no brackets.
func (m *measurer) flow(x *extent, indent int, open, shut byte) {
	n, at := x.node, x.body
	bare := at >= len(m.text) || m.text[at] != open
	if bare && (open != '{' || len(n.Content) != 2) {
		m.lost = true
		return
	}
	if bare {
		x.entries = []entry{m.pair(n.Content[0], n.Content[1], at, indent, true)}
		x.end = x.entries[0].end()
		return
	}
	at++
	step := 1
	if n.Kind == yaml.MappingNode {
		step = 2
	}
	x.entries = make([]entry, 0, len(n.Content)/step)
	for i := 0; i+step <= len(n.Content) && !m.lost; i += step {
		var e entry
		if step == 2 {
			e = m.pair(n.Content[i], n.Content[i+1], at, indent, true)
		} else {
			e = entry{start: skipSpace(m.text, at), comma: -1}
			e.head = e.start
			e.value = m.node(n.Content[i], indent, true, -1)
		}
		at = e.end()
		if next := skipSpace(m.text, at); next < len(m.text) && m.text[next] == ',' {
			e.comma, at = next, next+1
		}
		x.entries = append(x.entries, e)
	}
	at = skipSpace(m.text, at)
	if at >= len(m.text) || m.text[at] != shut {
		m.lost = true
		return
	}
	x.end = at + 1
}

// braced reports whether a flow mapping has brackets.
func (x *extent) braced(text []byte) bool {
	return x.node.Kind != yaml.MappingNode || text[x.body] == '{'
}

// isBlock reports whether an extent is a collection in block style.
func (x *extent) isBlock() bool {
	k := x.node.Kind
	return (k == yaml.MappingNode || k == yaml.SequenceNode) && x.node.Style&yaml.FlowStyle == 0
}
