package transformer

import (
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// The edited tree has no aliases. An edit of an anchored node must not change its aliases, nor the
// reverse, so an edit writes the aliases out:
//
// labels: &l {app: a}              labels: &l {app: a, added: "true"}
// matchLabels: *l             ▶    matchLabels: {app: a}
//
// An undo restores the aliases.

// isAlias reports whether a value is spelled as an alias.
func isAlias(token string) bool { return strings.HasPrefix(strings.TrimLeft(token, " \t\n"), "*") }

// keepAliases records the aliases that edits have written out. These are the aliases on or above an
// edited node, and those in any object of the document that name an edited node.
func (in *input) keepAliases(objects []*Object) {
	edited := map[Text]map[string]bool{} // anchors, by name
	for again := true; again; {          // an object that gets a record is edited too
		again = false
		for _, o := range objects {
			if e := in.editors[o]; e != nil && e.trail == nil && o.Text != nil && o.Text.Anchored() {
				if edited[o.Text] == nil {
					edited[o.Text] = map[string]bool{}
				}
				e.trace(edited[o.Text])
				again = true
			}
		}
		for _, o := range objects {
			if anchors := edited[o.Text]; anchors != nil {
				in.keepAliasesOf(o, anchors)
			}
		}
	}
}

func (in *input) keepAliasesOf(o *Object, edited map[string]bool) {
	eachAlias(o, o.Node, "", func(n *yaml.Node, path, alias string) {
		if e := in.editors[o]; edited[strings.TrimLeft(alias, " \t*")] || e != nil && e.trail[n] {
			in.editorOf(o).log.Spelled[path] = alias
			delete(o.Spelled, n) // the alias is not restored now
		}
	})
}

// trace follows the edited paths, and collects the anchors on them.
func (e *editor) trace(anchors map[string]bool) {
	e.trail = map[*yaml.Node]bool{}
	if len(e.log.paths()) == 0 {
		return
	}
	mark := func(n *yaml.Node) {
		e.trail[n] = true
		if token, _ := e.obj.spelling(n); !isAlias(token) {
			anchors[e.obj.anchor(n)] = true
		}
	}
	mark(e.obj.Node)
	for _, path := range append(e.log.edits(), "metadata.annotations") { // which has the record
		n := e.obj.Node
		for _, step := range splitPath(path) {
			if n = walk(n, []string{step}); n == nil {
				break
			}
			mark(n)
		}
	}
	var all func(n *yaml.Node)
	all = func(n *yaml.Node) {
		mark(n)
		for _, c := range n.Content {
			all(c)
		}
	}
	for _, n := range e.gone {
		all(n)
	}
}

// anchor returns the name of a node's anchor; "" if it has none.
func (o *Object) anchor(n *yaml.Node) string {
	if n.Anchor != "" { // an undo has restored it
		return n.Anchor
	}
	return o.Text.Anchor(n)
}

// eachAlias calls f for the values that the input spells as aliases.
func eachAlias(o *Object, n *yaml.Node, path string, f func(n *yaml.Node, path, alias string)) {
	if token, ok := o.spelling(n); ok && isAlias(token) {
		f(n, path, token)
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			eachAlias(o, n.Content[i+1], pathKey(path, n.Content[i].Value), f)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			id := nodes.ID(c)
			if childIndex(n, id) != i {
				id = fmt.Sprintf("#%d", i)
			}
			eachAlias(o, c, pathItem(path, id), f)
		}
	}
}
