package carry

import (
	"slices"
	"strconv"

	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// stepKind says what a step of a place leads to.
type stepKind uint8

const (
	// member is one of an object, a parameter, a header, a cookie or an element of XML,
	// by name. n counts those of the same name, from 0.
	member stepKind = iota
	// element is number n of an array.
	element
	// segment is number n of a path. It is shown with its number.
	segment
)

// placeStep is one step of a place. Unlike those of fieldpath it has numbers: a value is
// looked for again where it stood.
type placeStep struct {
	name string
	n    int32
	kind stepKind
}

// placeID is a place in the tree of places; none: there is no such place.
type placeID uint32

const none placeID = 0

// maxPlaces bounds how many places are told apart. Objects whose members have ids for
// names have no end of them.
const maxPlaces = 1 << 18

// places is a tree of places. Those of values that are never issued are not in it.
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

// find returns the place one step below another one.
func (p *places) find(parent placeID, s placeStep) placeID {
	return p.ids[placeNode{parent, s}]
}

// add does so, and adds it unless there are too many.
func (p *places) add(parent placeID, s placeStep) placeID {
	if id := p.find(parent, s); id != none || len(p.nodes) >= maxPlaces {
		return id
	}
	s.name = string(append([]byte(nil), s.name...)) // not the body that it is a part of
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

// text shows a place as users write it: elements of arrays without numbers.
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

// inArray tells whether the place is in an element of an array, or one of several of the
// same name.
func (p *places) inArray(id placeID) bool {
	for ; id != none; id = p.nodes[id].parent {
		if s := &p.nodes[id]; s.kind == element || s.kind == member && s.n > 0 {
			return true
		}
	}
	return false
}

// under tells whether the place is one of a part of a message, as `req.body`.
func (p *places) under(id placeID, part string) bool {
	for ; id != none; id = p.nodes[id].parent {
		parent := p.nodes[id].parent
		if parent != none && p.nodes[parent].parent == none && p.nodes[id].name == part {
			return true
		}
	}
	return false
}
