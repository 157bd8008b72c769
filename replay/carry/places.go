package carry

import (
	"slices"
	"strconv"

	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// stepKind is the kind of a step in a place.
type stepKind uint8

const (
	// member is a named part: a member of an object, a parameter, a header, a cookie or an XML
	// element. n is its index among those of the same name, from 0.
	member stepKind = iota
	// element is the element with index n of an array.
	element
	// segment is the segment with index n of a path. Reports show the number.
	segment
)

// placeStep is one step of a place. Unlike the steps of fieldpath, it has numbers, because a value
// is later looked up at exactly its place.
type placeStep struct {
	name string
	n    int32
	kind stepKind
}

// placeID is a place in the tree of places, or none.
type placeID uint32

const none placeID = 0

// maxPlaces bounds the places that are distinguished. Objects that use ids as names may have any
// number of members.
const maxPlaces = 1 << 18

// places is a tree of places. It omits places whose values are never issued.
type places struct {
	nodes []placeNode
	ids   map[placeNode]placeID
}

type placeNode struct {
	parent placeID
	placeStep
}

func newPlaces() *places {
	return &places{nodes: make([]placeNode, 1), ids: map[placeNode]placeID{}}
}

// find returns the place one step below another one, or none.
func (p *places) find(parent placeID, s placeStep) placeID {
	return p.ids[placeNode{parent, s}]
}

// add is find, and adds a missing place unless there are too many.
func (p *places) add(parent placeID, s placeStep) placeID {
	if id := p.find(parent, s); id != none || len(p.nodes) >= maxPlaces {
		return id
	}
	s.name = string(append([]byte(nil), s.name...)) // a copy, so that the place does not keep a body alive
	id := placeID(len(p.nodes))
	p.nodes = append(p.nodes, placeNode{parent, s})
	p.ids[placeNode{parent, s}] = id
	return id
}

// path returns the steps that lead to a place.
func (p *places) path(id placeID) (steps []placeStep) {
	for ; id != none; id = p.nodes[id].parent {
		steps = append(steps, p.nodes[id].placeStep)
	}
	slices.Reverse(steps)
	return steps
}

// text returns the place as users write it: without the numbers of array elements.
func (p *places) text(id placeID) string {
	var b []byte
	for _, s := range p.path(id) {
		switch s.kind {
		case element:
			b = append(b, "[]"...)
		case segment:
			b = append(strconv.AppendInt(append(b, '['), int64(s.n), 10), ']')
		default:
			b = fieldpath.AppendName(b, s.name)
		}
	}
	return string(b)
}

// inArray reports whether the place is in an element of an array, or in one of several parts of the
// same name.
func (p *places) inArray(id placeID) bool {
	for ; id != none; id = p.nodes[id].parent {
		if s := &p.nodes[id]; s.kind == element || s.kind == member && s.n > 0 {
			return true
		}
	}
	return false
}

// under reports whether the place is in a part of a message, such as `req.body`.
func (p *places) under(id placeID, part string) bool {
	for ; id != none; id = p.nodes[id].parent {
		parent := p.nodes[id].parent
		if parent != none && p.nodes[parent].parent == none && p.nodes[id].name == part {
			return true
		}
	}
	return false
}
