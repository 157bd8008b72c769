package canon

import (
	"bytes"
	"slices"
)

// node is a value of a tree, kept to print the canonical form.
type node struct {
	axis     Axis
	name     []byte
	kind     Kind
	value    []byte
	children []*node
}

// sorted returns the children by name. Those of the same name keep their order.
func (n *node) sorted() []*node {
	all := slices.Clone(n.children)
	slices.SortStableFunc(all, func(a, b *node) int { return bytes.Compare(a.name, b.name) })
	return all
}

// tree is a visitor that builds the whole tree.
type tree struct {
	root node
	open []*node
}

func (t *tree) top() *node {
	if len(t.open) == 0 {
		return &t.root
	}
	return t.open[len(t.open)-1]
}

func (t *tree) Enter(s Step) {
	n := &node{axis: s.Axis, name: slices.Clone(s.Name)}
	top := t.top()
	top.children = append(top.children, n)
	t.open = append(t.open, n)
}

func (t *tree) Leaf(k Kind, value []byte) {
	n := t.top()
	n.kind, n.value = k, slices.Clone(value)
}

func (t *tree) Leave() { t.open = t.open[:len(t.open)-1] }
