package match

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"

	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/match/rules"
)

// node is a value of a message, with its children.
type node struct {
	step     canon.Step
	kind     canon.Kind
	value    []byte
	children []*node
	hash     uint64 // of this value and all values below it
	masked   bool   // a rule masks it
	required bool   // a rule requires it to be equal
}

// treeBuilder is a visitor that keeps a message's values, except those that a rule ignores.
type treeBuilder struct {
	seed    maphash.Seed
	tracker rules.Tracker
	root    *node
	open    []*node // nil for an ignored value
	fired   []*rules.Place
}

func (t *treeBuilder) reset(seed maphash.Seed, scope *rules.Scope, kinds ...rules.PlaceKind) {
	t.seed, t.root, t.open = seed, &node{}, t.open[:0]
	t.tracker.Reset(scope, kinds...)
	t.open = append(t.open, t.root)
	if p := t.tracker.Decides(); p != nil {
		t.decide(p, t.root)
	}
}

func (t *treeBuilder) decide(p *rules.Place, n *node) (ignored bool) {
	t.fired = append(t.fired, p)
	n.masked, n.required = p.Action == rules.Mask, p.Action == rules.Require
	return p.Action == rules.Ignore
}

func (t *treeBuilder) Enter(s canon.Step) {
	t.tracker.Enter(s)
	top := t.open[len(t.open)-1]
	s.Name = bytes.Clone(s.Name)
	n := &node{step: s}
	if p := t.tracker.Decides(); top == nil || p != nil && t.decide(p, n) {
		t.open = append(t.open, nil)
		return
	}
	top.children = append(top.children, n)
	t.open = append(t.open, n)
}

func (t *treeBuilder) Leaf(k canon.Kind, value []byte) {
	if n := t.open[len(t.open)-1]; n != nil {
		n.kind, n.value = k, bytes.Clone(value)
	}
}

func (t *treeBuilder) Leave() {
	t.tracker.Leave()
	last := len(t.open) - 1
	if n := t.open[last]; n != nil {
		n.sum(t.seed)
	}
	t.open = t.open[:last]
}

// sum computes the node's hash. The order of named children doesn't matter.
func (n *node) sum(seed maphash.Seed) {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteByte(byte(n.kind))
	if !n.masked {
		h.Write(n.value)
	}
	sum := h.Sum64()
	for i, c := range n.children {
		var h maphash.Hash
		h.SetSeed(seed)
		h.WriteByte(byte(c.step.Axis))
		at := c.step.N
		if c.step.Axis == canon.Item {
			at = i
		}
		h.WriteString(strconv.Itoa(at))
		h.WriteByte(0)
		h.Write(c.step.Name)
		sum += mix(h.Sum64(), c.hash)
	}
	n.hash = sum
}

// comparison collects the differences of two messages.
type comparison struct {
	recordedAt, liveAt time.Time
	// same reports whether the values of a place are masked on both sides.
	same func(place string) bool

	// foreign means that tokens of the recorded side can't be compared.
	foreign bool
	// clock is how much two equal times may differ, each counted from its exchange. If 0, times are
	// compared as text.
	clock time.Duration

	place []byte
	names []byte // name of the place's last named step
	found Differences
	alike map[string]int // differences by pattern
}

func (c *comparison) add(kind Kind, recorded, live *node) {
	if c.same != nil && c.same(string(c.place)) || c.foreign && recorded != nil && live != nil && standsForAny(recorded.value, live.value) {
		return
	}
	d := Difference{Place: string(c.place[:min(len(c.place), maxPlace)]), Kind: kind}
	var of class.Value
	if recorded != nil {
		d.Recorded = show(recorded)
		of = class.Of(recorded.value, c.names, c.recordedAt)
		if recorded.kind == canon.Time {
			of = class.OfTimestamp(recorded.value, c.recordedAt)
		}
	}
	if live != nil {
		d.Live = show(live)
		if kind == TypeChanged {
			d.RecordedType, d.LiveType = recorded.typeName(), live.typeName()
		}
		if recorded != nil {
			if now := class.Of(live.value, c.names, c.liveAt); now == of || live.kind == canon.Time && class.OfTimestamp(live.value, c.liveAt) == of {
				if !recorded.required && c.followsClock(of, recorded.value, live.value) {
					return
				}
				d.Class = of.Class.String()
			}
		}
	}
	if len(c.found.List) == MaxDifferences || !c.isOneOfFew() {
		c.found.More++
		return
	}
	c.found.List = append(c.found.List, d)
}

// followsClock reports whether two values of the same class and offset are times at the same
// distance from the times of their exchanges.
func (c *comparison) followsClock(of class.Value, recorded, live []byte) bool {
	switch {
	case c.clock == 0 || of.Class.Role() != class.Moment || !of.Near:
		return false
	case of.IsOfDay(): // equal offsets mean the same day
		return true
	}
	a, ok := class.When(recorded)
	b, also := class.When(live)
	return ok && also && (b.Sub(c.liveAt)-a.Sub(c.recordedAt)).Abs() <= c.clock
}

// isOneOfFew reports whether the place is one of the first with its pattern.
func (c *comparison) isOneOfFew() bool {
	if c.alike == nil {
		c.alike = map[string]int{}
	}
	pattern := Difference{Place: string(c.place[:min(len(c.place), maxPlace)])}.Pattern()
	c.alike[pattern]++
	return c.alike[pattern] <= MaxAlike
}

// standsForAny reports whether a recorded value has tokens that can't be compared, and its other
// parts equal those of the live value.
func standsForAny(recorded, live []byte) bool {
	if class.IsToken(recorded) {
		return true
	}
	pattern := class.AppendPattern(nil, recorded)
	return !bytes.Equal(pattern, recorded) && bytes.Equal(pattern, class.AppendPattern(nil, live))
}

// text compares two strings. A missing side is nil.
func (c *comparison) text(place string, recorded, live []byte) { c.texts(place, recorded, live, false) }

func (c *comparison) texts(place string, recorded, live []byte, required bool) {
	c.place = append(c.place[:0], place...)
	side := func(b []byte) *node {
		if b == nil {
			return nil
		}
		return &node{kind: canon.Text, value: b, required: required}
	}
	c.leaf(side(recorded), side(live))
}

func (c *comparison) leaf(recorded, live *node) {
	switch {
	case recorded == nil && live == nil:
	case recorded == nil:
		c.add(FieldAdded, nil, live)
	case live == nil:
		c.add(FieldRemoved, recorded, nil)
	case recorded.kind != live.kind || (len(recorded.children) > 0) != (len(live.children) > 0):
		c.add(TypeChanged, recorded, live)
	case !bytes.Equal(recorded.value, live.value):
		c.add(ValueChanged, recorded, live)
	}
}

// trees compares two trees whose roots are at the current place.
func (c *comparison) trees(place string, recorded, live *node) {
	c.place = append(c.place[:0], place...)
	c.nodes(0, recorded, live)
}

func (c *comparison) nodes(axis canon.Axis, recorded, live *node) {
	if recorded.hash == live.hash || recorded.masked && live.masked {
		return
	}
	items := func(n *node) bool { return len(n.children) > 0 && n.children[0].step.Axis == canon.Item }
	switch {
	case len(recorded.children) == 0 && len(live.children) == 0:
		c.leaf(recorded, live)
	case isEmpty(recorded) && len(live.children) > 0, len(recorded.children) > 0 && isEmpty(live):
		// One side is an empty object, so all members of the other side were added or removed.
		if items(recorded) || items(live) {
			c.items(axis, recorded, live)
		} else {
			c.members(axis, recorded, live)
		}
	case len(recorded.children) == 0 || len(live.children) == 0 || items(recorded) != items(live):
		c.leaf(recorded, live)
	case items(recorded):
		c.items(axis, recorded, live)
	default:
		c.members(axis, recorded, live)
	}
}

func isEmpty(n *node) bool {
	return len(n.children) == 0 && (n.kind == canon.Object || n.kind == canon.Array || n.kind == 0)
}

// at calls f at the place one step below.
func (c *comparison) at(parent canon.Axis, s canon.Step, f func()) {
	n, names := len(c.place), c.names
	c.place = appendStep(c.place, parent, s)
	if s.Axis != canon.Item {
		c.names = s.Name
	}
	f()
	c.place, c.names = c.place[:n], names
}

type stepKey struct {
	axis canon.Axis
	name string
	n    int
}

// members compares named children.
func (c *comparison) members(axis canon.Axis, recorded, live *node) {
	if !bytes.Equal(recorded.value, live.value) { // the text of an XML element with attributes
		c.add(ValueChanged, &node{kind: recorded.kind, value: recorded.value}, &node{kind: live.kind, value: live.value})
	}
	by := make(map[stepKey]*node, len(live.children))
	for _, n := range live.children {
		by[stepKey{n.step.Axis, string(n.step.Name), n.step.N}] = n
	}
	elements := true // both sides have the same elements
	for _, r := range recorded.children {
		k := stepKey{r.step.Axis, string(r.step.Name), r.step.N}
		l := by[k]
		if delete(by, k); l == nil {
			elements = elements && r.step.Axis != canon.Element
		}
		if r.step.Axis == canon.Children {
			continue
		}
		c.at(axis, r.step, func() {
			if l == nil {
				c.leaf(r, nil)
			} else {
				c.nodes(r.step.Axis, r, l)
			}
		})
	}
	for _, l := range live.children { // in order
		if by[stepKey{l.step.Axis, string(l.step.Name), l.step.N}] != nil && l.step.Axis != canon.Children {
			elements = elements && l.step.Axis != canon.Element
			c.at(axis, l.step, func() { c.leaf(nil, l) })
		}
	}
	if elements { // otherwise the added or removed elements changed the order
		c.order(axis, recorded, live)
	}
}

// order compares the order of XML elements.
func (c *comparison) order(axis canon.Axis, recorded, live *node) {
	find := func(n *node) *node {
		for _, child := range n.children {
			if child.step.Axis == canon.Children {
				return child
			}
		}
		return nil
	}
	if r, l := find(recorded), find(live); r != nil && l != nil {
		c.at(axis, r.step, func() { c.leaf(r, l) })
	}
}

// maxAligned bounds the length of lists that are aligned. Longer lists are compared item by item.
const maxAligned = 5000

// items compares numbered children. It aligns them to distinguish added and removed items from
// changed ones.
func (c *comparison) items(axis canon.Axis, recorded, live *node) {
	a, b := recorded.children, live.children
	if isReordered(a, b) {
		c.add(OrderChanged, recorded, live)
		return
	}
	pair := func(i, j int) {
		switch {
		case i >= 0 && j >= 0:
			c.at(axis, a[i].step, func() { c.nodes(canon.Item, a[i], b[j]) })
		case i >= 0:
			c.at(axis, a[i].step, func() { c.leaf(a[i], nil) })
		default:
			c.at(axis, b[j].step, func() { c.leaf(nil, b[j]) })
		}
	}
	align(len(a), len(b), func(i int) uint64 { return a[i].hash }, func(j int) uint64 { return b[j].hash }, pair)
}

// isReordered reports whether two unequal lists have the same items in another order.
func isReordered(a, b []*node) bool {
	if len(a) != len(b) {
		return false
	}
	count := make(map[uint64]int, len(a))
	for _, n := range a {
		count[n.hash]++
	}
	for _, n := range b {
		if count[n.hash] == 0 {
			return false
		}
		count[n.hash]--
	}
	return true
}

// align pairs the items of two unequal lists. An item that only one list has is paired with -1.
func align(n, m int, a, b func(int) uint64, pair func(i, j int)) {
	from := 0
	for from < n && from < m && a(from) == b(from) {
		from++
	}
	end := 0
	for end < n-from && end < m-from && a(n-1-end) == b(m-1-end) {
		end++
	}
	between := func(i, toI, j, toJ int) {
		for ; i < toI && j < toJ; i, j = i+1, j+1 {
			pair(i, j)
		}
		for ; i < toI; i++ {
			pair(i, -1)
		}
		for ; j < toJ; j++ {
			pair(-1, j)
		}
	}
	if n-from-end > maxAligned || m-from-end > maxAligned {
		between(from, n-end, from, m-end)
		return
	}
	const width = 17 // of a line
	lines := func(from, to int, of func(int) uint64) string {
		var b []byte
		for i := from; i < to; i++ {
			b = fmt.Appendf(b, "%016x\n", of(i))
		}
		return string(b)
	}
	i, j := from, from
	for _, e := range udiff.Lines(lines(from, n-end, a), lines(from, m-end, b)) {
		start, stop := from+e.Start/width, from+e.End/width
		j += start - i
		added := len(e.New) / width
		between(start, stop, j, j+added)
		i, j = stop, j+added
	}
}

// typeName returns the type of a value, as differences show it.
func (n *node) typeName() string {
	switch {
	case len(n.children) == 0:
		return n.kind.String()
	case n.children[0].step.Axis == canon.Item:
		return canon.Array.String()
	}
	return canon.Object.String()
}

// show returns a value as differences show it.
func show(n *node) string {
	var text string
	switch {
	case len(n.children) > 0 && (n.children[0].step.Axis == canon.Item || n.children[0].step.Axis == canon.Member):
		return n.typeName() + " of " + strconv.Itoa(len(n.children))
	case len(n.children) > 0:
		text = string(n.value)
	case n.kind == canon.Object:
		return "{}"
	case n.kind == canon.Array:
		return "[]"
	case n.kind == canon.Bytes && !utf8.Valid(n.value):
		return hashOf(n.value)
	default:
		text = string(n.value)
	}
	return cut(text)
}

// cut shortens a string to MaxValue bytes.
func cut(s string) string {
	if len(s) <= MaxValue {
		return s
	}
	n := MaxValue - len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
