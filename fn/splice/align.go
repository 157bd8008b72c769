package splice

import (
	"hash/fnv"
	"io"
	"slices"
	"sort"
	"strconv"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/internal/nodes"
)

// sequence edits a sequence: it aligns the items, then carries out the plan.
func (w *walk) sequence(h *extent, want *yaml.Node, s slot, lay layout) {
	p := alignItems(h, want)
	if h.isBlock() {
		w.moves(h, p)
	}
	w.carry(h, want, p, s, lay)
}

// moves moves items that only changed their position together with their lines, and so with their
// comments. It does not move an item with an anchor or an alias, which is written again instead, because
// its meaning depends on the text before it.
func (w *walk) moves(h *extent, p *plan) {
	from := map[string]int{}
	for i, to := range p.to {
		e := &h.entries[i]
		if n := e.value.node; to.fate == gone && identity(n) != "" && beginsLine(w.text, e.start) && !hasAnchor(n) && !hasAlias(n) {
			from[itemID(n)] = i
		}
	}
	if len(from) == 0 {
		return
	}
	for _, fresh := range p.fresh {
		for k := range fresh {
			m := &fresh[k]
			i, ok := from[itemID(m.value)]
			if !ok || !Equal(h.entries[i].value.node, m.value) {
				continue
			}
			delete(from, itemID(m.value))
			e := &h.entries[i]
			e.start = w.withComments(h, i)
			m.lines = string(w.text[e.start:lineEnd(w.text, e.end())])
		}
	}
}

// withComments returns the beginning of entry i, including the comments right above it in its column.
// It leaves out those above the first entry, which may describe all entries.
func (w *walk) withComments(h *extent, i int) int {
	start := h.entries[i].start
	col := column(w.text, start)
	for i > 0 {
		line := lineStart(w.text, start)
		if line == 0 {
			break
		}
		above := skipBlanks(w.text, lineAbove(w.text, line))
		if above >= line || w.text[above] != '#' || column(w.text, above) != col {
			break
		}
		start = above
	}
	return start
}

func hasAnchor(n *yaml.Node) bool { return n.Anchor != "" || slices.ContainsFunc(n.Content, hasAnchor) }

// alignItems decides which items remain. The alignment affects only the size of the change, not its
// result.
func alignItems(h *extent, want *yaml.Node) *plan {
	n, m := len(h.entries), len(want.Content)
	p := &plan{to: make([]outcome, n), fresh: map[int][]member{}}
	old, now := make([]string, n), make([]string, m)
	for i := range h.entries {
		old[i] = itemID(h.entries[i].value.node)
	}
	for j, c := range want.Content {
		now[j] = itemID(c)
	}
	head := 0
	for head < n && head < m && old[head] == now[head] {
		p.to[head] = outcome{edited, member{value: want.Content[head]}}
		head++
	}
	tail := 0
	for tail < n-head && tail < m-head && old[n-1-tail] == now[m-1-tail] {
		tail++
		p.to[n-tail] = outcome{edited, member{value: want.Content[m-tail]}}
	}
	old, now = old[head:n-tail], now[head:m-tail]
	var matches [][2]int
	if len(old) != len(now) || !anonymous(old) || !anonymous(now) {
		matches = common(old, now)
	}
	i, j := head, head
	for _, match := range matches {
		p.gap(h, want, i, head+match[0], j, head+match[1])
		i, j = head+match[0], head+match[1]
		p.to[i] = outcome{edited, member{value: want.Content[j]}}
		i, j = i+1, j+1
	}
	p.gap(h, want, i, n-tail, j, m-tail)
	return p
}

// anonymous reports whether all items are collections without an identity. If their number did not
// change, they are the same items, edited.
func anonymous(ids []string) bool {
	return !slices.ContainsFunc(ids, func(id string) bool { return id[0] != '#' })
}

// gap handles the items between two aligned ones. If there are as many old as new items, they
// correspond by position. Otherwise those of the same kind correspond, in their order. Corresponding
// items are the same item, edited, unless both have an identity. In a flow sequence any two items
// correspond, because replacing changes less than removing.
func (p *plan) gap(h *extent, want *yaml.Node, i, iEnd, j, jEnd int) {
	last := i - 1
	if iEnd-i == jEnd-j {
		for ; i < iEnd; i, j = i+1, j+1 {
			if h.isBlock() && identity(h.entries[i].value.node) != "" && identity(want.Content[j]) != "" {
				p.fresh[last] = append(p.fresh[last], member{value: want.Content[j]})
			} else {
				p.to[i], last = outcome{edited, member{value: want.Content[j]}}, i
			}
		}
		return
	}
	if i < iEnd && j < jEnd {
		old, now := make([]string, 0, iEnd-i), make([]string, 0, jEnd-j)
		for k := i; k < iEnd; k++ {
			old = append(old, likeness(h, h.entries[k].value.node, "old"))
		}
		for k := j; k < jEnd; k++ {
			now = append(now, likeness(h, want.Content[k], "now"))
		}
		for _, match := range common(old, now) {
			for ; j < jEnd-len(now)+match[1]; j++ {
				p.fresh[last] = append(p.fresh[last], member{value: want.Content[j]})
			}
			last = iEnd - len(old) + match[0]
			p.to[last] = outcome{edited, member{value: want.Content[j]}}
			j++
		}
	}
	for ; j < jEnd; j++ {
		p.fresh[last] = append(p.fresh[last], member{value: want.Content[j]})
	}
}

// likeness returns the same text for items that may turn into each other.
func likeness(h *extent, n *yaml.Node, side string) string {
	switch {
	case !h.isBlock():
		return "any"
	case identity(n) != "":
		return side
	}
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return strconv.Itoa(int(n.Kind))
}

// common aligns two lists of ids by the longest common subsequence of their
// distinct occurrences: the longest increasing run of positions, O(n log n).
func common(old, now []string) [][2]int {
	var seen occurrences
	at := make(map[string]int, len(old))
	for i, id := range old {
		at[seen.number(id)] = i
	}
	seen = nil
	var pairs [][2]int // in the order of now
	for j, id := range now {
		if i, ok := at[seen.number(id)]; ok {
			pairs = append(pairs, [2]int{i, j})
		}
	}
	// ends[k] is the pair with the smallest old position that ends an
	// increasing run of length k+1; before chains each pair to its run.
	var ends []int
	before := make([]int, len(pairs))
	for x, pair := range pairs {
		k := sort.Search(len(ends), func(k int) bool { return pairs[ends[k]][0] >= pair[0] })
		before[x] = -1
		if k > 0 {
			before[x] = ends[k-1]
		}
		if k == len(ends) {
			ends = append(ends, x)
		} else {
			ends[k] = x
		}
	}
	if len(ends) == 0 {
		return nil
	}
	run := make([][2]int, 0, len(ends))
	for x := ends[len(ends)-1]; x >= 0; x = before[x] {
		run = append(run, pairs[x])
	}
	slices.Reverse(run)
	return run
}

// itemID returns the item's identity, or else a digest of its content.
func itemID(n *yaml.Node) string {
	for n.Kind == yaml.AliasNode && n.Alias != nil && n.Alias.Kind != yaml.AliasNode {
		n = n.Alias
	}
	if id := identity(n); id != "" {
		return id
	}
	if n.Kind == yaml.ScalarNode {
		return "=" + keyID(n)
	}
	sum, left := fnv.New64a(), digested
	digest(sum, n, &left)
	return "#" + strconv.FormatUint(sum.Sum64(), 16)
}

// identity returns the text that identifies an item; "" if there is none.
func identity(n *yaml.Node) string {
	field, id := nodes.Identity(n)
	if field == "" {
		return ""
	}
	return field + "\x00" + id
}

// digested limits how many nodes of an item enter its digest. Otherwise deeply nested collections
// would cost depth times size.
const digested = 256

// digest writes the first nodes of a tree, and follows aliases.
func digest(out io.Writer, n *yaml.Node, left *int) {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	if *left--; *left < 0 {
		return
	}
	_, _ = io.WriteString(out, n.ShortTag()+"\x00"+n.Value+"\x00(")
	for _, c := range n.Content {
		if *left <= 0 {
			return
		}
		digest(out, c, left)
	}
	_, _ = io.WriteString(out, ")")
}
