// Package canon reads a message body as a tree of named values. The tree leaves out differences in
// spelling: the order of an object's members, white space, escapes, the boundary of a
// multipart body. Two bodies are the same if their trees are equal.
//
//	body ─▶ Detect ─▶ Format.Walk ─▶ Visitor: Enter, Leaf, Leave   keys, places, differences
//	                  Format.Append ─▶ canonical text                display, tests
//
// It promises:
//
//   - A body that violates its format is an error; the caller then compares bytes. The
//     package never repairs a body.
//   - Different values remain different. Numbers are compared as decimals of any length.
//   - Time and memory are linear in the body's length, and depth is bounded.
//
// It imports the standard library and google.golang.org/protobuf.
package canon

import (
	"errors"
	"fmt"
	"hash/maphash"
)

// Axis is the relation of a value to its parent.
type Axis byte

const (
	Member    Axis = '.' // of an object, by name
	Item      Axis = '[' // of an array, by number
	Element   Axis = '/' // of an XML element, by name
	Attribute Axis = '@' // of an XML element, by name
	Children  Axis = '*' // the order of an XML element's children
	Field     Axis = '&' // of a form or of a multipart body, by name
)

// Step leads from a value to one of its children.
type Step struct {
	Axis Axis
	// Name is valid only during the call. An XML name begins with its namespace in braces.
	Name []byte
	// N is the index among siblings with the same axis and name, from 0.
	N int
}

// Kind is the type of a value.
type Kind byte

const (
	Text   Kind = 's'
	Number Kind = 'n' // a decimal in normal form
	Bool   Kind = 'b' // true or false
	Null   Kind = '0'
	Object Kind = '{' // an empty object
	Array  Kind = '[' // an empty array
	Bytes  Kind = 'x' // unknown format
	Time   Kind = 't' // a protobuf Timestamp: seconds, a dot and nine digits
)

// String returns the name of the kind, as differences show it.
func (k Kind) String() string {
	switch k {
	case Text:
		return "string"
	case Number:
		return "number"
	case Bool:
		return "boolean"
	case Null:
		return "null"
	case Object:
		return "object"
	case Array:
		return "array"
	case Time:
		return "timestamp"
	}
	return "bytes"
}

// Visitor visits the values of a tree in the order of the body. If the walk returns an error,
// discard everything visited. Names and values are valid only during the call.
type Visitor interface {
	// Enter goes one step down. Leave goes back up.
	Enter(Step)
	// Leaf visits a value without children.
	Leaf(k Kind, value []byte)
	Leave()
}

// maxDepth bounds the nesting of values, and so the stack. Real schemas stay far below it.
const maxDepth = 512

var errDepth = fmt.Errorf("nested more than %d deep", maxDepth)

// syntaxError returns the error for a body that violates its format at byte at.
func syntaxError(format string, at int, want string) error {
	return fmt.Errorf("%s: byte %d: want %s", format, at, want)
}

var errEmpty = errors.New("empty")

// counter numbers siblings of the same name, for each open level.
type counter struct {
	names  []named
	levels []level
}

type named struct {
	hash uint64
	n    int
}

type level struct {
	from int
	by   map[uint64]int // position in names; nil while there are few
}

// manyNames is the number of names from which a level uses a map.
const manyNames = 24

// nameSeed differs in each process, so that an attacker can't choose names that collide.
var nameSeed = maphash.MakeSeed()

func (c *counter) open() { c.levels = append(c.levels, level{from: len(c.names)}) }

func (c *counter) close() {
	last := len(c.levels) - 1
	c.names = c.names[:c.levels[last].from]
	c.levels[last].by = nil
	c.levels = c.levels[:last]
}

// next returns the number of earlier siblings of the same name.
func (c *counter) next(name []byte) int {
	h := maphash.Bytes(nameSeed, name)
	l := &c.levels[len(c.levels)-1]
	siblings := c.names[l.from:]
	if l.by == nil {
		for i := range siblings {
			if siblings[i].hash == h {
				siblings[i].n++
				return siblings[i].n
			}
		}
		if len(siblings) == manyNames {
			l.by = make(map[uint64]int, 2*manyNames)
			for i := range siblings {
				l.by[siblings[i].hash] = l.from + i
			}
		}
	} else if i, ok := l.by[h]; ok {
		c.names[i].n++
		return c.names[i].n
	}
	if l.by != nil {
		l.by[h] = len(c.names)
	}
	c.names = append(c.names, named{hash: h})
	return 0
}
