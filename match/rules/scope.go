package rules

import (
	"strings"

	"github.com/tapedeck/tapedeck/internal/rulefile"
	"github.com/tapedeck/tapedeck/match/canon"
)

// Scope has the places of all rules that apply to one request, or to its response. It can be
// reused, and is not safe for concurrent use.
type Scope struct {
	places [Status + 1][]*Place
}

// Reset fills the scope for a request, or for its response.
func (c *Scope) Reset(s *Set, method, host, path string, response bool) {
	for i := range c.places {
		c.places[i] = c.places[i][:0]
	}
	for _, r := range s.Rules() {
		if !r.appliesTo(method, host, path) {
			continue
		}
		for i := range r.Places {
			if p := &r.Places[i]; p.Response == response {
				c.places[p.Kind] = append(c.places[p.Kind], p)
			}
		}
	}
}

// Of returns the places of a kind.
func (c *Scope) Of(k PlaceKind) []*Place { return c.places[k] }

// First returns the deciding place of a kind that has no names, or nil if there is none.
func (c *Scope) First(k PlaceKind) (p *Place) {
	for _, q := range c.places[k] {
		p = decides(p, q)
	}
	return p
}

// Header returns the deciding place for a header, whose name is in lower case.
func (c *Scope) Header(name string) (p *Place) {
	for _, q := range c.places[Header] {
		if q.name == name {
			p = decides(p, q)
		}
	}
	return p
}

// HeaderName returns the name of a header's place, in lower case.
func (p *Place) HeaderName() string { return p.name }

// Segments writes the deciding place of each segment of a path to dst, which has the same length.
func (c *Scope) Segments(path []string, dst []*Place) {
	for _, p := range c.places[Path] {
		if len(path) < len(p.segments) || len(path) > len(p.segments) && !p.rest {
			continue
		}
		matches := true
		for i, s := range p.segments {
			matches = matches && rulefile.Glob(s, path[i])
		}
		if !matches {
			continue
		}
		for i := range path {
			if i >= len(p.segments) || strings.Contains(p.segments[i], "*") {
				dst[i] = decides(dst[i], p)
			}
		}
	}
}

// decides returns which of two places decides about the same value: a place that requires wins, then
// one that ignores, then the first one in the file.
func decides(a, b *Place) *Place {
	rank := [numActions]int{Require: 2, Ignore: 1, Mask: 0}
	if a == nil || rank[b.Action] > rank[a.Action] {
		return b
	}
	return a
}

// Tracker follows a walk over a tree and finds the deciding place for the current value. Its cost
// does not depend on the depth.
type Tracker struct {
	places []*Place
	states []state
	levels []trackLevel
}

type state struct{ place, step int }

type trackLevel struct {
	from    int // in states
	decides *Place
}

// Reset starts at the root with places of these kinds.
func (t *Tracker) Reset(c *Scope, kinds ...PlaceKind) {
	t.places, t.states, t.levels = t.places[:0], t.states[:0], t.levels[:0]
	for _, k := range kinds {
		t.places = append(t.places, c.places[k]...)
	}
	if len(t.places) == 0 {
		return
	}
	root := trackLevel{}
	for i, p := range t.places {
		if len(p.steps) == 0 {
			root.decides = decides(root.decides, p)
		} else {
			t.states = append(t.states, state{i, 0})
		}
	}
	t.levels = append(t.levels, root)
}

// Enter goes one step down.
func (t *Tracker) Enter(s canon.Step) {
	if len(t.places) == 0 {
		return
	}
	parent := t.levels[len(t.levels)-1]
	l := trackLevel{len(t.states), parent.decides}
	for i := parent.from; i < l.from; i++ {
		at := t.states[i]
		p := t.places[at.place]
		st := &p.steps[at.step]
		if st.deep {
			t.states = append(t.states, at)
		}
		if !st.matches(s) {
			continue
		}
		if at.step+1 == len(p.steps) {
			l.decides = decides(l.decides, p)
		} else {
			t.states = append(t.states, state{at.place, at.step + 1})
		}
	}
	t.levels = append(t.levels, l)
}

// Leave goes back up.
func (t *Tracker) Leave() {
	if len(t.places) == 0 {
		return
	}
	last := len(t.levels) - 1
	t.states = t.states[:t.levels[last].from]
	t.levels = t.levels[:last]
}

// Decides returns the deciding place for the current value, or nil if there is none.
func (t *Tracker) Decides() *Place {
	if len(t.levels) == 0 {
		return nil
	}
	return t.levels[len(t.levels)-1].decides
}
