package redact

import (
	"math/bits"
	"strings"
	"sync/atomic"
)

// verdicts caches the verdict on each name, because every exchange has the same names, and the name's
// last clean value. Its size is fixed: a name can be in one of two slots, and new names replace older
// ones.
type verdicts struct {
	*dictionary
	places [1 << verdictBits]atomic.Pointer[remembered]
}

const (
	verdictBits = 10
	// maxName and maxClean limit the names and values that are cached.
	maxName  = 64
	maxClean = 1 << 10
	// retry is how many other clean values it takes to replace the cached one of a name.
	retry = 64
)

type remembered struct {
	name string
	verdict
	key  key
	step string // the name as a step of a path, as appendStep makes it
	// In JSON, the name is in quotes and a colon follows. tail has the last eight bytes of this text, or
	// all of it if it is shorter. head has the bytes before these. A word that was read up to the end of
	// tail or head equals it once it is shifted right by shift or shift2. size is the length of the text
	// without the colon. For a name that can't be compared in this way, tail differs from any text.
	tail, head    uint64
	shift, shift2 uint8
	size          int
	next          atomic.Uint32 // the slot of the name that followed the last time

	clean  atomic.Pointer[string]
	others atomic.Uint32 // how many other clean values were seen
}

// verdict returns the verdict on a name.
func (v *verdicts) verdict(name string) verdict {
	if len(name) > maxName {
		return v.look(name)
	}
	return v.remembered(name).verdict
}

// lookUp is remembered for names of any length. It doesn't cache long names.
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

// key has the first and the last eight bytes of a name, and its length. Different names of
// up to 16 bytes have different keys.
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
	if k.size = afterQuote(k.last); k.size < 8 {
		k.last = k.last >> 8 >> ((7 - k.size) * 8 & 63)
		k.first = k.last
	} else if k.size += afterQuote(load(s[end-16 : end-8])); k.size < 16 {
		k.first = load(s[end-k.size : end-k.size+8])
	}
	m := v.places[k.slot()].Load()
	if m == nil || m.key != k || m.tail == 0 || s[end-k.size-2] == '\\' {
		return nil
	}
	return m
}

// afterQuote returns how many of eight bytes follow the last quote.
func afterQuote(word uint64) int {
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

// isClean reports whether the value is the cached clean value.
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
