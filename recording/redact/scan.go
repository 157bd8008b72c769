package redact

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// grammar says how a text is read.
type grammar uint8

const (
	prose     grammar = iota // a header's value: parameters, URLs and quoted text in it
	content                  // a value in a body: like prose, but people's texts often have colons
	code                     // a program: only text in quotes or in a URL is a value
	target                   // a URL, or part of one
	authority                // a URL, or part of one, that may begin with user information
	webhook                  // the path of a host whose paths are secrets
	keyed                    // keyed+n: the path of the n-th of keyedHosts
)

// isURL reports whether the whole text of this grammar is a URL.
func (g grammar) isURL() bool { return g >= target }

// span is a secret in a text.
type span struct{ from, to int }

// mark says which constructs a character may belong to.
type mark uint8

const (
	equals mark = 1 << iota
	escape
	slash
	at
	colon
	hook // a character by which well-known secrets are found
)

var marks = func() (t [256]mark) {
	t['='], t['%'], t['\\'], t['/'], t['@'], t[':'] = equals, escape, escape, slash, at, colon
	for _, c := range "-_.AB" {
		t[c] = hook
	}
	return t
}()

func marksOf(s string) (m mark) {
	for i := range len(s) {
		m |= marks[s[i]]
	}
	return m
}

// suspicious reports whether a text must be searched. Most texts need no search: they have marked
// characters only in times, hosts, paths and hyphenated words.
func (r *Sink) suspicious(s string) bool {
	divided := false // whether there was a colon or a slash
	if len(s) < 8 {
		return markedOf(s) != 0
	}
	for i, done := 0, 0; done < len(s); i += 8 {
		var found uint64
		if i <= len(s)-8 {
			found = marked(load(s[i : i+8]))
		} else {
			i = len(s) - 8
			found = marked(load(s[i:])) >> (8 * (done - i)) << (8 * (done - i))
		}
		done = i + 8
		for ; found != 0; found &= found - 1 {
			k := i + bits.TrailingZeros64(found)>>3
			switch c := s[k]; marks[c] {
			case 0:
			case hook:
				if k > 1 && beforeHook[c&3][s[k-1]]>>(s[k-2]&31)&1 != 0 || c <= 'B' && c >= 'A' {
					if mayBeKnownAt(s, k) {
						return true
					}
				}
			case at: // a mail address has nothing before it
				if divided || r.also.Emails {
					return true
				}
			case slash:
				divided = true
				if k > 0 && s[k-1] == '<' { // the slash of a closing tag
					return true
				}
				if k > 1 && (r.last[s[k-2]&31]>>(s[k-1]&31)&1 != 0 && r.saysMore(segmentBefore(s, k)) || s[k-1] == '/' && r.isHost(s[k+1:])) {
					return true
				}
			case colon:
				divided = true
				if mayDivide(s, k) {
					return true
				}
			default:
				return true
			}
		}
	}
	return s[0] == '<' || r.also.Phones && strings.IndexByte(s, '+') >= 0 || len(s) >= minCard && mayHaveCard(s) || len(s) >= minKnown && s[0] == 'b' && known(s) > 0
}

// saysMore reports whether a segment of a path may make later segments secret.
func (r *Sink) saysMore(segment string) bool {
	return r.announces(segment) || r.suspected(segment) > 0 || segment == "services"
}

// segmentBefore returns the segment of a path that ends at a slash.
func segmentBefore(s string, slash int) string {
	from := slash
	for from > 0 && slash-from <= maxGlued && !segmentEnds[s[from-1]] {
		from--
	}
	return s[from:slash]
}

// isHost reports whether s begins with a host whose paths have secrets.
func (r *Sink) isHost(s string) bool {
	host := s[:segmentEnd(s, 0)]
	if len(host) == len(s) || len(host) > maxName {
		return len(host) > maxName
	}
	plain := &r.plainHosts[len(host)%len(r.plainHosts)]
	if p := plain.Load(); p != nil && *p == host {
		return false
	}
	if isWebhookHost(host) || keyedHost(host) >= 0 {
		return true
	}
	host = strings.Clone(host)
	plain.Store(&host)
	return false
}

// marked sets the high bit of each of eight characters that may have a mark.
func marked(word uint64) uint64 {
	// The high bit of a byte of low+ones*(0x80-c) is set if the byte is at least c. A byte that reaches
	// an odd number of these bounds is in one of the following ranges, and has no mark. Bytes that
	// aren't ASCII have no mark, either.
	// [ -$] [&-,] [0-9] [C-[] []-^] [`-]
	low := word & lows
	in := (low + ones*(0x80-' ')) ^ (low + ones*(0x80-'%')) ^
		(low + ones*(0x80-'&')) ^ (low + ones*(0x80-'-')) ^
		(low + ones*(0x80-'0')) ^ (low + ones*(0x80-':')) ^
		(low + ones*(0x80-'C')) ^ (low + ones*(0x80-'\\')) ^
		(low + ones*(0x80-']')) ^ (low + ones*(0x80-'_')) ^
		(low + ones*(0x80-'`'))
	return ^(in | word) & highs
}

// markedOf is marked for fewer than eight characters.
func markedOf(s string) (found uint64) {
	for i := range len(s) {
		if marks[s[i]] != 0 {
			found |= 0x80 << (8 * i)
		}
	}
	return found
}

// hasMark reports whether a text may have a character with a mark. It never misses one.
func hasMark(s string) bool {
	i := 0
	for ; i <= len(s)-8; i += 8 {
		if marked(load(s[i:i+8])) != 0 {
			return true
		}
	}
	for ; i < len(s); i++ {
		if marks[s[i]] != 0 {
			return true
		}
	}
	return false
}

// maxEscapes is how many times a text may have been escaped. No program escapes more often, so a text
// that still has escapes after that counts as secret.
const maxEscapes = 6

// text redacts the secrets in a text: values of parameters with secret names, user information,
// segments of paths, card numbers and well-known secrets. It searches the text, and then again after
// each level of escapes that it can undo.
//
//	/cb?to=https%3A%2F%2Fa%2F%3Fkey%3Dhush      the original
//	/cb?to=https://a/?key=hush                  unescaped: `hush` is replaced in the original
func (r *Sink) text(s string, g grammar) string {
	if g != authority && g < webhook && !r.suspicious(s) {
		return s
	}
	m := marksOf(s)
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

// findEscaped finds secrets in the unescaped forms of a text.
func (r *Sink) findEscaped(found []span, s string, g grammar) []span {
	t, places, changed := unescape(s, nil)
	for n := 0; changed; n++ {
		if n == maxEscapes {
			return append(found, span{strings.IndexByte(s, '%'), len(s)})
		}
		before := len(found)
		found = r.find(found, t, g, marksOf(t))
		for i := before; i < len(found); i++ {
			f := &found[i]
			f.from, f.to = int(places[f.from]), int(places[f.to])
		}
		t, places, changed = unescape(t, places)
	}
	return found
}

// unescape undoes one level of percent-encoding. It also returns the position in the original of each
// byte, and of the end.
func unescape(s string, places []int32) (t string, moved []int32, changed bool) {
	first := strings.IndexByte(s, '%')
	for first >= 0 && !isEscape(s[first:]) {
		next := strings.IndexByte(s[first+1:], '%')
		if next < 0 {
			first = -1
		} else {
			first += 1 + next
		}
	}
	if first < 0 {
		return s, places, false
	}
	b := make([]byte, 0, len(s))
	moved = make([]int32, 0, len(s)+1)
	origin := func(i int) int32 {
		if places == nil {
			return int32(i)
		}
		return places[i]
	}
	for i := 0; i < len(s); i++ {
		c, at := s[i], i
		if c == '%' && isEscape(s[i:]) {
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		b, moved = append(b, c), append(moved, origin(at))
	}
	return string(b), append(moved, origin(len(s))), true
}

// isEscape reports whether s, which begins with a percent sign, begins with an escape.
func isEscape(s string) bool { return len(s) > 2 && unhex(s[1]) < 16 && unhex(s[2]) < 16 }

// unhex returns the value of a hexadecimal digit, or more than 15 for other characters.
func unhex(c byte) byte {
	switch lower := c | 0x20; {
	case isDigit(c):
		return c - '0'
	case 'a' <= lower && lower <= 'f':
		return lower - 'a' + 10
	}
	return 0xff
}

// unescaped undoes percent-encoding up to maxEscapes times.
func unescaped(s string) string {
	for n, changed := 0, true; changed && n < maxEscapes; n++ {
		s, _, changed = unescape(s, nil)
	}
	return s
}

// replace replaces the secrets with tokens. Secrets that overlap get one token.
func (r *Sink) replace(s string, found []span) string {
	slices.SortStableFunc(found, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to))
	})
	out, done := make([]byte, 0, len(s)+2*tokenLen), 0
	for i := 0; i < len(found); {
		one := found[i]
		for i++; i < len(found) && found[i].from < one.to; i++ {
			one.to = max(one.to, found[i].to)
		}
		out = append(out, s[done:one.from]...)
		out = append(out, r.token(s[one.from:one.to])...)
		done = one.to
	}
	return string(append(out, s[done:]...))
}

// find appends the secrets of a text, without unescaping it.
func (r *Sink) find(found []span, s string, g grammar, m mark) []span {
	if m&(equals|colon) != 0 {
		found = r.pairs(found, s, g, m&colon != 0)
	}
	if m&at != 0 || m&(colon|slash) == colon|slash {
		found = users(found, s, g)
	}
	if m&at != 0 {
		if m&colon != 0 {
			found = logins(found, s)
		}
	}
	if m&slash != 0 {
		found = r.segments(found, s, g)
	}
	if len(s) >= minKnown {
		found = knownIn(found, s, false)
	}
	if len(s) >= minCard {
		found = cards(found, s)
	}
	if r.also.Emails {
		found = emails(found, s)
	}
	if r.also.Phones {
		found = phones(found, s)
	}
	return found
}
