package redact

import (
	"math/bits"
	"strings"
	"sync/atomic"
)

// verdicts caches the verdicts of names, because every exchange has the same names, and the last
// clean value of each. Its size is fixed: a name can be in one of two slots, and new names replace
// older ones.
type verdicts struct {
	*dictionary
	places [1 << verdictBits]atomic.Pointer[remembered]
}

const (
	verdictBits = 10
	// maxName and maxClean limit the names and values that are cached.
	maxName  = 64
	maxClean = 1 << 10
	// retry is how many other values replace the cached clean value of a name.
	retry = 64
)

type remembered struct {
	name string
	verdict
	key  key
	step string // of a path, as appendStep makes it
	// JSON has the name between quotes and in front of a colon. tail is that, or the last eight
	// bytes of it, and what is before them is head, both as the high bytes of words
	// once these are shifted; size is that of all. A name that can't be compared so has another tail than any.
	tail, head    uint64
	shift, shift2 uint8
	size          int
	next          atomic.Uint32 // the slot of the name that followed the last time

	clean  atomic.Pointer[string]
	others atomic.Uint32 // values that came since
}

// verdict returns the verdict of a name.
func (v *verdicts) verdict(name string) verdict {
	if len(name) > maxName {
		return v.look(name)
	}
	return v.remembered(name).verdict
}

// lookUp is remembered for names of any length; long names are not cached.
func (v *verdicts) lookUp(name string) *remembered {
	if len(name) > maxName {
		return v.learn(name)
	}
	return v.remembered(name)
}

func (v *verdicts) learn(name string) *remembered {
	m := &remembered{name: strings.Clone(name), verdict: v.look(name), key: keyOf(name), step: string(appendStep([]byte("req"), name)[len("req"):])}
	if text := `"` + m.name + `":`; len(text) <= 15 && strings.IndexByte(name, '\\') < 0 {
		n := min(len(text), 8)
		m.tail, m.shift = word(text[len(text)-n:]), uint8(64-8*n)
		m.head, m.shift2 = word(text[:len(text)-n]), uint8(64-8*(len(text)-n))
		m.size = len(text) - 1
	}
	return m
}

// remembered returns the cached entry of a name of at most maxName bytes. A new name takes its first
// slot, and moves the old entry to the neighbouring slot.
func (v *verdicts) remembered(name string) *remembered {
	k := keyOf(name)
	n := k.slot()
	own, other := &v.places[n], &v.places[n^1]
	m := own.Load()
	if m != nil && m.key == k && (k.size <= 16 || m.name == name) {
		return m
	}
	if o := other.Load(); o != nil && o.name == name {
		return o
	}
	if m != nil {
		other.Store(m)
	}
	m = v.learn(name)
	own.Store(m)
	return m
}

// stepOf returns a name as a step of a path.
func (v *verdicts) stepOf(name string) string {
	if len(name) > maxName {
		return string(appendStep([]byte("req"), name)[len("req"):])
	}
	return v.remembered(name).step
}

// key is the first and the last eight bytes of a name, and how many it has: it tells
// names of up to 16 bytes from each other.
type key struct {
	first, last uint64
	size        int
}

func keyOf(name string) key {
	if n := len(name); n >= 8 {
		return key{load(name), load(name[n-8:]), n}
	}
	w := word(name)
	return key{w, w, len(name)}
}

// memberAt returns the cached entry of the JSON name before a colon. It returns nil if the name isn't
// cached, or is too long or complex to be found with few instructions.
func (v *verdicts) memberAt(s string, colon int) *remembered {
	end := colon - 1
	if end < 18 || s[end] != '"' || s[end-1] == '\\' {
		return nil
	}
	var k key
	k.last = load(s[end-8 : end])
	if k.size = behindQuote(k.last); k.size < 8 {
		k.last = k.last >> 8 >> ((7 - k.size) * 8 & 63)
		k.first = k.last
	} else if k.size += behindQuote(load(s[end-16 : end-8])); k.size < 16 {
		k.first = load(s[end-k.size : end-k.size+8])
	}
	m := v.places[k.slot()].Load()
	if m == nil || m.key != k || m.tail == 0 || s[end-k.size-2] == '\\' {
		return nil
	}
	return m
}

// behindQuote is how many bytes of eight follow the last quote.
func behindQuote(word uint64) int {
	x := word ^ ones*'"'
	return bits.LeadingZeros64(^((x&lows + lows) | x | lows)) >> 3
}

// slot returns the slot of a name.
func (k key) slot() uint64 {
	return ((k.first*31+k.last)*0x9e3779b97f4a7c15 + uint64(k.size)*0xff51afd7ed558ccd) * 0x9e3779b97f4a7c15 >> (64 - verdictBits)
}

// word is a text of up to eight bytes as a number.
func word(s string) (w uint64) {
	for i := range len(s) {
		w |= uint64(s[i]) << (8 * i)
	}
	return w
}

func load(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// isClean reports whether the value is the cached clean one.
func (m *remembered) isClean(value string) bool {
	clean := m.clean.Load()
	return clean != nil && *clean == value
}

// cleanIs caches a value without a secret.
func (m *remembered) cleanIs(value string) {
	if len(value) > maxClean || m.clean.Load() != nil && m.others.Add(1)%retry != 0 {
		return
	}
	clean := strings.Clone(value)
	m.clean.Store(&clean)
}
