package match

import (
	"encoding/binary"
	"time"

	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/match/rules"
)

const (
	// maxLeaves bounds the values of a message that can be masked. All values are compared.
	maxLeaves = 4096
	// maxPlace bounds the length of a place's name.
	maxPlace = 512
	// numBands is the number of parts into which a request is divided, to find others that
	// differ from it in few places.
	numBands = 8
)

// leaf is a value of a message that may be masked.
type leaf struct {
	path  key    // of the place, including numbers
	place uint64 // of the place, without numbers
	exact key    // of the place and the value
	mask  key    // of the place and the class; if a rule masks the value, of the place alone
	value uint64 // of the value
	kind  canon.Kind
	class.Value
	once      bool // the name shows that the value is made for one request
	reference bool // the name shows that the value refers to something
	unnamed   bool // its name is a number
	inPath    bool // a segment of a URL's path
	whole     bool // the value is a token and nothing else
	protocol  bool // the protocol has a fresh value here
	rule      *rules.Place

	name, text span // positions in keyer.text; text is the part of the value that has the class
	all        span // the whole value
}

type span struct{ from, to int }

// keyer is a visitor that computes a message's key, and collects the values that may be masked.
// It can be reused.
type keyer struct {
	secret  secret
	at      time.Time
	tracker rules.Tracker

	sum    key
	bands  [numBands]uint32
	leaves []leaf
	fired  []*rules.Place
	levels []keyLevel
	text   []byte // names and texts of the leaves
	place  []byte // name of the current place
	names  []byte // names of the steps to that place
	buf    []byte
	inPath bool
	// allValues hashes all values, and not only those that may be masked.
	allValues bool
}

type keyLevel struct {
	path  key
	wild  uint64
	axis  canon.Axis
	place int  // length of keyer.place
	names int  // length of keyer.names
	name  span // in keyer.names, of the last step that has one
	band  uint32
}

// begin starts a tree. The names of its places begin with prefix.
func (k *keyer) begin(domain, prefix string) {
	k.place, k.names = append(k.place[:0], prefix...), k.names[:0]
	k.levels = append(k.levels[:0], keyLevel{
		path:  k.secret.of([]byte(domain)),
		wild:  k.secret.short([]byte(domain)),
		place: len(k.place),
		band:  uint32(len(domain)),
	})
}

func (k *keyer) reset(at time.Time) {
	k.at = at
	k.sum, k.bands = key{}, [numBands]uint32{}
	k.leaves, k.fired, k.text = k.leaves[:0], k.fired[:0], k.text[:0]
}

// mark is the state of a keyer, so that rewind can undo later visits.
type mark struct {
	sum    key
	bands  [numBands]uint32
	leaves int
	text   int
	fired  int
}

func (k *keyer) mark() mark {
	return mark{k.sum, k.bands, len(k.leaves), len(k.text), len(k.fired)}
}

func (k *keyer) rewind(m mark) {
	k.sum, k.bands = m.sum, m.bands
	k.leaves, k.text, k.fired = k.leaves[:m.leaves], k.text[:m.text], k.fired[:m.fired]
}

func (k *keyer) Enter(s canon.Step) {
	parent := &k.levels[len(k.levels)-1]
	b := appendKey(k.buf[:0], parent.path)
	b = append(b, byte(s.Axis))
	b = binary.LittleEndian.AppendUint32(b, uint32(s.N))
	b = append(b, s.Name...)
	l := keyLevel{path: k.secret.of(b), band: parent.band + 1, name: parent.name}
	binary.LittleEndian.PutUint64(b[8:], parent.wild)
	b[16] = byte(s.Axis)
	binary.LittleEndian.PutUint32(b[17:], 0)
	l.wild = k.secret.short(b[8:])
	k.buf = b[:0]
	for _, c := range s.Name {
		l.band = l.band*31 + uint32(c)
	}
	l.axis = s.Axis
	if k.place = appendStep(k.place, parent.axis, s); len(k.place) > maxPlace {
		k.place = k.place[:maxPlace]
	}
	l.place, l.names = len(k.place), len(k.names)
	if s.Axis != canon.Item && len(s.Name) <= maxPlace {
		k.names = append(k.names, s.Name...)
		l.name, l.names = span{l.names, len(k.names)}, len(k.names)
	}
	k.tracker.Enter(s)
	k.levels = append(k.levels, l)
}

func (k *keyer) Leave() {
	k.tracker.Leave()
	last := len(k.levels) - 1
	k.levels = k.levels[:last]
	k.place, k.names = k.place[:k.levels[last-1].place], k.names[:k.levels[last-1].names]
}

// Leaf implements [canon.Visitor].
func (k *keyer) Leaf(kind canon.Kind, value []byte) {
	level := &k.levels[len(k.levels)-1]
	rule := k.tracker.Decides()
	k.leaf(level, kind, value, rule)
}

// leaf adds a value. It returns the value if it may be masked.
func (k *keyer) leaf(level *keyLevel, kind canon.Kind, value []byte, rule *rules.Place) *leaf {
	if rule != nil {
		k.fired = append(k.fired, rule)
		if rule.Action == rules.Ignore {
			return nil
		}
	}
	b := appendKey(k.buf[:0], level.path)
	b = append(b, byte(kind))
	b = append(b, value...)
	exact := k.secret.of(b)
	k.buf = b[:0]
	k.sum = k.sum.plus(exact)

	l := leaf{path: level.path, place: level.wild, exact: exact, mask: exact, kind: kind, inPath: k.inPath}
	from, to := 0, len(value) // range of the part that has the class
	if rule == nil || rule.Action != rules.Require {
		name := k.names[level.name.from:level.name.to]
		switch {
		case kind == canon.Text, kind == canon.Number, kind == canon.Bytes && len(value) < 100: // bytes are a whole body
			l.Value, from, to = class.Find(value, name, k.at)
		case kind == canon.Bytes:
			l.Value = class.OfBody(value)
		case kind == canon.Time:
			l.Value = class.OfTimestamp(value, k.at)
		}
		switch {
		case rule != nil:
			l.rule, l.mask = rule, k.secret.any(level.path)
			from, to = 0, len(value)
		case l.Class == class.Token:
			l.whole = class.IsToken(value)
			l.mask = k.secret.any(level.path)
			if !l.whole {
				b = append(appendKey(k.buf[:0], level.path), 'P')
				b = class.AppendPattern(b, value)
				l.mask, k.buf = k.secret.of(b), b[:0]
			}
		case l.Class != class.None:
			b = append(appendKey(k.buf[:0], level.path), 'M', byte(l.Class), bit(l.Near))
			b = binary.LittleEndian.AppendUint16(b, uint16(l.Offset))
			b = append(append(append(b, value[:from]...), 0), value[to:]...)
			l.mask, k.buf = k.secret.of(b), b[:0]
		}
		if l.Class != class.None {
			l.once, l.reference, l.unnamed = class.UsedOnce(name), class.IsReference(name), class.IsNumber(name)
		}
	}
	masked := l.mask
	k.bands[level.band*0x9e3779b1>>29] += uint32(masked.lo)
	if len(k.leaves) == maxLeaves {
		return nil
	}
	if k.allValues || l.Class != class.None || l.rule != nil {
		l.value = k.secret.short(value[from:to])
	}
	if k.leaves = append(k.leaves, l); l.Class == class.None && l.rule == nil {
		return nil
	}
	kept := &k.leaves[len(k.leaves)-1]
	kept.name, kept.all = k.keep(k.place), k.keep(value)
	kept.text = span{kept.all.from + from, kept.all.from + to}
	return kept
}

func (k *keyer) keep(b []byte) span {
	from := len(k.text)
	k.text = append(k.text, b...)
	return span{from, len(k.text)}
}

func (k *keyer) string(s span) string { return string(k.text[s.from:s.to]) }

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// part adds a value that is never masked, such as the method.
func (k *keyer) part(domain string, value ...string) key {
	b := append(k.buf[:0], domain...)
	for _, v := range value {
		b = append(b, 0)
		b = append(b, v...)
	}
	k.buf = b[:0]
	return k.secret.of(b)
}
