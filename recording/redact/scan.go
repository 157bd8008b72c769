package redact

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// grammar says how a text is read.
type grammar uint8

const (
	prose     grammar = iota // a header's value: parameters, URLs and quoted text in it
	target                   // a URL, or a part of one
	authority                // the same, which may begin with user information
	webhook                  // the path of a host whose paths are secrets
	keyed                    // from here on, the path of a host of keyedHosts
)

// span is a secret in a text, as the text spells it or as it was before it was escaped.
type span struct {
	from, to int
	secret   string
}

// mark says which characters a text has that secrets are found by.
type mark uint8

const (
	equals mark = 1 << iota
	escape
	slash
	at
	quote
	colon
)

var marks = [256]mark{'=': equals, '%': escape, '/': slash, '@': at, '"': quote, '\'': quote, ':': colon}

func marksOf(s string) (m mark) {
	for i := range len(s) {
		m |= marks[s[i]]
	}
	return m
}

// maxEscapes is how often a text may have been escaped. No program does it more
// often, so what is left then is secret for all that is known.
const maxEscapes = 6

// text redacts secrets that are written in a text: values of parameters with
// secret names, user information, segments of paths, and well-known tokens. A text
// is read as it stands, and again each time it can be unescaped.
//
//	/cb?to=https%3A%2F%2Fa%2F%3Fkey%3Dhush      as it stands
//	/cb?to=https://a/?key=hush                  unescaped: `hush` goes, where its escaped form stands
func (r *Sink) text(s string, g grammar) string {
	m := marksOf(s)
	if m == 0 && g != authority && !mayBeKnown(s) {
		return s
	}
	var room [4]span
	found := r.find(room[:0], s, g, m)
	if m&escape != 0 {
		found = r.findEscaped(found, s, g)
	}
	if len(found) == 0 {
		return s
	}
	return r.replace(s, found)
}

// findEscaped finds secrets in what a text is when it is unescaped.
func (r *Sink) findEscaped(found []span, s string, g grammar) []span {
	t, places, changed := unescape(s, nil)
	for n := 0; changed; n++ {
		if n == maxEscapes {
			return append(found, span{from: strings.IndexByte(s, '%'), to: len(s)})
		}
		before := len(found)
		found = r.find(found, t, g, marksOf(t))
		for i := before; i < len(found); i++ {
			f := &found[i]
			f.secret = t[f.from:f.to]
			f.from, f.to = places[f.from], places[f.to]
		}
		t, places, changed = unescape(t, places)
	}
	return found
}

// unescape undoes one level of percent-encoding, and returns where each byte, and
// the end, stands in the original.
func unescape(s string, places []int) (t string, moved []int, changed bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, places, false
	}
	b := make([]byte, 0, len(s))
	moved = make([]int, 0, len(s)+1)
	origin := func(i int) int {
		if places == nil {
			return i
		}
		return places[i]
	}
	for i := 0; i < len(s); i++ {
		c, at := s[i], i
		if c == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c, changed = byte(v), true
				i += 2
			}
		}
		b, moved = append(b, c), append(moved, origin(at))
	}
	return string(b), append(moved, origin(len(s))), changed
}

// unescaped undoes percent-encoding as often as a text is read.
func unescaped(s string) string {
	for changed := true; changed; {
		s, _, changed = unescape(s, nil)
	}
	return s
}

// replace puts tokens in the places of the secrets. Those that overlap are one.
func (r *Sink) replace(s string, found []span) string {
	slices.SortStableFunc(found, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to))
	})
	out, done := make([]byte, 0, len(s)+2*tokenLen), 0
	for i := 0; i < len(found); {
		one := found[i]
		for i++; i < len(found) && found[i].from < one.to; i++ {
			if found[i].to > one.to {
				one.to, one.secret = found[i].to, ""
			}
		}
		out = append(out, s[done:one.from]...)
		out = append(out, r.token(cmp.Or(one.secret, s[one.from:one.to]))...)
		done = one.to
	}
	return string(append(out, s[done:]...))
}

// find appends the secrets of a text as it stands.
func (r *Sink) find(found []span, s string, g grammar, m mark) []span {
	if m&(equals|colon) != 0 {
		found = r.pairs(found, s, g, m&colon != 0)
	}
	if m&at != 0 {
		found = users(found, s, g)
		if m&colon != 0 {
			found = logins(found, s)
		}
	}
	if m&slash != 0 {
		found = r.segments(found, s, g)
	}
	if n := known(s); n > 0 {
		found = append(found, span{from: 0, to: n})
	} else if i := strings.IndexByte(s, ' '); i > 0 {
		if n := known(s[i+1:]); n > 0 {
			found = append(found, span{from: i + 1, to: i + 1 + n})
		}
	}
	return found
}
