package splice

import (
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// renderer writes nodes that have no text yet. A text begins with its first character, without
// indentation, and ends without a line break.
type renderer struct {
	tokens map[*yaml.Node]string
}

// isBlock reports whether n is written as a block collection.
func (r renderer) isBlock(n *yaml.Node) bool {
	_, spelled := r.tokens[n]
	return !spelled && len(n.Content) > 0 && n.Style&yaml.FlowStyle == 0
}

// document writes a root.
func (r renderer) document(n *yaml.Node, lay layout) string {
	s := slot{kind: rootSlot}
	if !r.isBlock(n) {
		return r.inline(n, s, lay)
	}
	text := r.block(n, 0, lay)
	if tag := r.tag(n); tag != "" {
		return tag + lay.eol + text
	}
	return text
}

// member writes a pair or an item of a block collection at a column.
func (r renderer) member(m member, col int, lay layout) string {
	if m.lines != "" {
		return m.lines
	}
	if token, ok := r.tokens[m.key]; ok {
		text, _ := core(token)
		return text
	}
	if m.key == nil {
		return "-" + r.after(m.value, slot{kind: itemSlot, col: col}, lay)
	}
	s := slot{kind: pairSlot, col: col}
	key := r.key(m.key, lay)
	if len(key) > maxSimpleKey {
		key = "? " + key + lay.eol + spaces(col)
	}
	return key + ":" + r.after(m.value, s, lay)
}

// maxSimpleKey is the maximum length of a key without `?`. The parser's limit is 1024 characters.
const maxSimpleKey = 1000

// after writes the text after an indicator: a token on the same line, or lines.
func (r renderer) after(n *yaml.Node, s slot, lay layout) string {
	if !r.isBlock(n) {
		token := r.inline(n, s, lay)
		if _, spelled := r.tokens[n]; !spelled {
			return prefixed(" ", token)
		}
		if m := below.FindStringSubmatchIndex(token); m != nil {
			text, _ := core(token[m[1]:])
			value := token[m[1]:]
			return prefixed(" ", strings.TrimRight(token[:m[3]], " \t")) + lay.eol + value[:len(value)-len(strings.TrimLeft(value, " \t"))] + text
		}
		token, _ = unglued(token)
		return prefixed(" ", token)
	}
	tag, col := r.tag(n), lay.childColumn(n, s)
	text := r.block(n, col, lay)
	if s.kind == itemSlot && tag == "" {
		return spaces(col-s.col-1) + text
	}
	return prefixed(" ", tag) + lay.eol + spaces(col) + text
}

// block writes a block collection at a column.
func (r renderer) block(n *yaml.Node, col int, lay layout) string {
	var b strings.Builder
	for i, m := range membersOf(n) {
		if i > 0 {
			b.WriteString(lay.eol + spaces(col))
		}
		b.WriteString(r.member(m, col, lay))
	}
	return b.String()
}

func membersOf(n *yaml.Node) []member {
	var list []member
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			list = append(list, member{key: n.Content[i], value: n.Content[i+1]})
		}
		return list
	}
	for _, c := range n.Content {
		list = append(list, member{value: c})
	}
	return list
}

// key writes a key of a block mapping on one line.
func (r renderer) key(n *yaml.Node, lay layout) string {
	lay.json, lay.spread, lay.quoted = false, false, true
	if n.Kind == yaml.ScalarNode && n.ShortTag() != yaml.NodeTagNull {
		return r.scalar(n, false, 0, lay)
	}
	return r.flow(n, lay)
}

// inline writes a node that isn't a block collection.
func (r renderer) inline(n *yaml.Node, s slot, lay layout) string {
	if token, ok := r.tokens[n]; ok {
		return indentedBy(token, s.col)
	}
	if n.Kind != yaml.ScalarNode {
		lay.spread = false
		return r.flow(n, lay)
	}
	if s.kind == rootSlot && n.ShortTag() == yaml.NodeTagNull {
		return "null" // without a text there would be no document
	}
	body := s.col + lay.step
	if s.kind == itemSlot {
		body = s.col + lay.dash
	}
	return r.scalar(n, false, body, lay)
}

// flow writes a node inside brackets.
func (r renderer) flow(n *yaml.Node, lay layout) string {
	if token, ok := r.tokens[n]; ok {
		text, _ := core(token)
		return text
	}
	lay.quoted = true
	open, shut := "[", "]"
	switch n.Kind {
	case yaml.ScalarNode:
		return r.scalar(n, true, 0, lay)
	case yaml.MappingNode:
		open, shut = "{", "}"
	}
	var parts []string
	inner := lay.deeper()
	for _, m := range membersOf(n) {
		parts = append(parts, r.flowMember(m, inner))
	}
	text := open + strings.Join(parts, lay.comma) + shut
	if inner.spread && len(parts) > 0 {
		text = open + lay.eol + inner.inner + strings.Join(parts, ","+lay.eol+inner.inner) + lay.eol + lay.inner + shut
	}
	return join(r.tag(n), text)
}

// flowMember writes a pair or an item of a flow collection.
func (r renderer) flowMember(m member, lay layout) string {
	if token, ok := r.tokens[m.key]; ok {
		text, _ := core(token)
		return text
	}
	if m.key == nil {
		return r.flow(m.value, lay)
	}
	key, colon := r.flow(m.key, lay), lay.colon
	if !strings.HasPrefix(key, `"`) && strings.TrimRight(colon, " \t") == colon {
		colon += " " // {a:1} is one plain scalar
	}
	if len(key) > maxSimpleKey {
		key = "? " + key
	}
	return key + colon + r.flow(m.value, lay)
}

// tag returns the tag that a collection must show; "" for the usual tags.
func (r renderer) tag(n *yaml.Node) string {
	tag := n.ShortTag()
	if n.Kind == yaml.MappingNode && tag == yaml.NodeTagMap || n.Kind == yaml.SequenceNode && tag == yaml.NodeTagSeq {
		return ""
	}
	return written(tag)
}

// written returns the spelling of a tag in a text.
func written(tag string) string {
	if strings.HasPrefix(tag, "!") {
		return tag
	}
	return "!<" + tag + ">"
}
