// Package canon reads a message's body as a tree of named values, in which spelling
// makes no difference: the order of an object's members, white space, escapes, the
// boundary of a multipart body. Two bodies are the same if their trees are equal.
//
//	body ─▶ Detect ─▶ Format.Walk ─▶ Visitor: Enter, Leaf, Leave   keys, places, differences
//	                  Format.Append ─▶ canonical text                to show, and to test by
//
// It promises:
//
//   - A format that a body does not keep to is an error, and the caller compares the
//     bytes: nothing is read into a body that it does not say.
//   - Different values stay different. Numbers are compared as decimals of any length.
//   - Time and memory are linear in the body's length, and depth is bounded.
//
// It imports the standard library and google.golang.org/protobuf, and nothing of this
// module.
package canon

import (
	"errors"
	"fmt"
	"hash/maphash"
)

// Axis says how a value hangs on the one above it.
type Axis byte

const (
	Member    Axis = '.' // of an object, by name
	Item      Axis = '[' // of an array, by number
	Element   Axis = '/' // of an XML element, by name
	Attribute Axis = '@' // of an XML element, by name
	Children  Axis = '*' // the order of an XML element's children
	Field     Axis = '&' // of a form or of a multipart body, by name
)

// Step leads from a value to one below it.
type Step struct {
	Axis Axis
	// Name is only valid during the call. Names of XML have their namespace in front,
	// in braces.
	Name []byte
	// N counts values of the same axis and name, in order, from 0.
	N int
}

// Kind is the type of a value.
type Kind byte

const (
	Text   Kind = 's'
	Number Kind = 'n' // a decimal in normal form
	Bool   Kind = 'b' // true or false
	Null   Kind = '0'
	Object Kind = '{' // one without members
	Array  Kind = '[' // one without items
	Bytes  Kind = 'x' // what no format explains
	Time   Kind = 't' // protobuf's Timestamp: seconds, a dot and nine digits
)

// String names the kind as differences show it.
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

// Visitor is told a tree, in the order in which it is written. What is told before an
// error is void. Names and values are only valid during the call.
type Visitor interface {
	// Enter goes one step down, Leave back up.
	Enter(Step)
	// Leaf is a value that has none below it.
	Leaf(k Kind, value []byte)
	Leave()
}

// maxDepth is how deep values may be nested. No schema comes near it, and the stack
// stays small.
const maxDepth = 512

var errDepth = fmt.Errorf("nested more than %d deep", maxDepth)

// syntaxError says where a format is not kept to.
func syntaxError(format string, at int, want string) error {
	return fmt.Errorf("%s: byte %d: want %s", format, at, want)
}

var errEmpty = errors.New("empty")

// counter numbers equal names among siblings, for every level that is open.
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

// manyNames is how many names are looked through one by one.
const manyNames = 24

// nameSeed is the process's own: names can't be chosen to collide.
var nameSeed = maphash.MakeSeed()

func (c *counter) open() { c.levels = append(c.levels, level{from: len(c.names)}) }

func (c *counter) close() {
	last := len(c.levels) - 1
	c.names = c.names[:c.levels[last].from]
	c.levels[last].by = nil
	c.levels = c.levels[:last]
}

// next is how many siblings before have the name.
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
