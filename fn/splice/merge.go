package splice

import (
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// merged completes the plan of a mapping with merge keys. Which new members the merge keys already provide
// is known only after all anchors are settled. Until then the plan waits, except for the pairs that it
// walks into.
func (w *walk) merged(h *extent, want *yaml.Node, p *plan, s slot, lay layout) {
	inner, col := lay.within(w.text, h), s.col
	if h.isBlock() {
		col = column(w.text, h.body)
	}
	before, _ := w.brought(h, func(e *expander, v, out *yaml.Node, taken map[string]bool) error { return e.merge(v, out, taken) })
	for i, to := range p.to {
		switch {
		case to.fate == edited && w.backToMerged(h.entries[i].value.node, to.member, before):
			p.remove(i)
		case to.fate != gone:
			w.stay(h, &h.entries[i], to, col, inner)
			p.to[i].fate = settled
		}
	}
	w.postpone(func() {
		values, apart := w.brought(h, w.bring)
		wanted := explicitKeys(want)
		for id := range values {
			apart = apart || !wanted[id]
		}
		if apart {
			p.unmerge(h)
		} else {
			for i, fresh := range p.fresh {
				p.fresh[i] = unbrought(fresh, values)
			}
		}
		w.carry(h, want, p, s, lay)
	})
}

// brought collects the pairs that the merge keys of h provide, by key. It reports whether one of the
// merge keys has become invalid.
func (w *walk) brought(h *extent, bring func(*expander, *yaml.Node, *yaml.Node, map[string]bool) error) (values map[string]*yaml.Node, broken bool) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	e := expander{open: map[*yaml.Node]bool{}}
	taken := map[string]bool{}
	for i := range h.entries {
		if isMerge(h.entries[i].key.node) && bring(&e, h.entries[i].value.node, out, taken) != nil {
			broken = true
		}
	}
	values = make(map[string]*yaml.Node, len(out.Content)/2)
	for i := 0; i+1 < len(out.Content); i += 2 {
		values[keyID(out.Content[i])] = out.Content[i+1]
	}
	return values, broken
}

// backToMerged reports whether a pair that overrides a merged one changes back to the merged value, as
// in the undo of an edit that had to override it. If so, the pair can be removed.
func (w *walk) backToMerged(old *yaml.Node, m member, brought map[string]*yaml.Node) bool {
	v, ok := brought[keyID(m.key)]
	if !ok || !Equal(v, m.value) {
		return false
	}
	now, err := expanded(old, nil)
	return err != nil || !Equal(now, m.value)
}

// bring collects in out the pairs that a merge key's value will provide.
func (w *walk) bring(e *expander, v, out *yaml.Node, taken map[string]bool) error {
	switch v.Kind {
	case yaml.AliasNode:
		now := w.becomes(v)
		if now == nil || now.Kind != yaml.MappingNode {
			return errMerge
		}
		return e.merge(now, out, taken)
	case yaml.SequenceNode:
		for _, c := range v.Content {
			if err := w.bring(e, c, out, taken); err != nil {
				return err
			}
		}
		return nil
	}
	return e.merge(v, out, taken)
}

// unmerge removes the merge keys, because a merge can add pairs, but not omit them.
func (p *plan) unmerge(h *extent) {
	for i := range h.entries {
		if isMerge(h.entries[i].key.node) {
			p.remove(i)
		}
	}
}

// remove removes an entry, and moves the new members after it to the previous entry that remains.
func (p *plan) remove(i int) {
	p.to[i] = outcome{}
	to := i - 1
	for to >= 0 && p.to[to].fate == gone {
		to--
	}
	p.fresh[to] = append(p.fresh[to], p.fresh[i]...)
	delete(p.fresh, i)
}

// unbrought drops the members that a merge provides with the same value.
func unbrought(fresh []member, brought map[string]*yaml.Node) []member {
	var rest []member
	for _, m := range fresh {
		if v, ok := brought[keyID(m.key)]; !ok || !Equal(v, m.value) {
			rest = append(rest, m)
		}
	}
	return rest
}
