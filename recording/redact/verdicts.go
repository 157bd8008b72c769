package redact

import (
	"strings"
	"sync/atomic"
)

// verdicts remembers what names say, since the same ones come with every
// exchange, and the last value of each that had no secret in it. It is as large
// as it is, whatever names come: each has one place, and the last one in it stays.
type verdicts struct {
	*dictionary
	places [1 << verdictBits]atomic.Pointer[remembered]
}

const (
	verdictBits = 9
	// maxName is how long a name, or a value, may be that is remembered.
	maxName  = 64
	maxClean = 1 << 10
	// retry is how many other values come before the one that is remembered is replaced.
	retry = 64
)

type remembered struct {
	name string
	verdict
	clean  atomic.Pointer[string]
	others atomic.Uint32 // values that came since
}

// verdict returns what a name says.
func (v *verdicts) verdict(name string) verdict {
	if len(name) > maxName {
		return v.look(name)
	}
	return v.remembered(name).verdict
}

// remembered finds the place of a name that isn't too long.
func (v *verdicts) remembered(name string) *remembered {
	place := &v.places[hash(name)]
	m := place.Load()
	if m == nil || m.name != name {
		m = &remembered{name: strings.Clone(name), verdict: v.look(name)}
		place.Store(m)
	}
	return m
}

// hash mixes a name's first and last eight bytes and its length.
func hash(s string) uint64 {
	n := len(s)
	var a, b uint64
	if n >= 8 {
		a, b = load(s), load(s[n-8:])
	} else {
		for i := range n {
			a = a<<8 | uint64(s[i])
		}
	}
	return ((a*31+b)*0x9e3779b97f4a7c15 + uint64(n)*0xff51afd7ed558ccd) * 0x9e3779b97f4a7c15 >> (64 - verdictBits)
}

func load(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// isClean tells whether the value is the one that is remembered to be.
func (m *remembered) isClean(value string) bool {
	clean := m.clean.Load()
	return clean != nil && *clean == value
}

// cleanIs remembers a value without a secret.
func (m *remembered) cleanIs(value string) {
	if len(value) > maxClean || m.clean.Load() != nil && m.others.Add(1)%retry != 0 {
		return
	}
	clean := strings.Clone(value)
	m.clean.Store(&clean)
}
