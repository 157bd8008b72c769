package redact

import (
	"math/bits"
	"strings"
)

// prescan finds the places in a JSON text where something may have to be redacted. Most texts have
// none. A prescan costs far less than a scan: it searches for colons, and reads only names and those
// strings that are long enough for a secret. It may find a place where scan finds nothing, but never
// misses one.
type prescan struct {
	search
	s       string
	telling says // properties of names whose members must be read more closely
	seen    says // properties of the names so far
	room    []byte
}

// plainUntil returns the first such place after from, or the text's end. If it changes telling, the
// caller must read the whole text again.
func (g *prescan) plainUntil(from int) int {
	s, last := g.s, (*remembered)(nil) // the last name
	for i := from; i >= 0; {           // i is never negative; the condition removes bounds checks
		for {
			if i > len(s)-8 {
				for i < len(s) && s[i] != ':' {
					i++
				}
				break
			}
			x := load(s[i:i+8]) ^ ones*':'
			if found := (x - ones) &^ x & highs; found != 0 {
				i += bits.TrailingZeros64(found) >> 3
				break
			}
			i += 8
		}
		if i >= len(s) {
			if g.seen&(isNaming|isValued) == isNaming|isValued {
				g.telling |= isNaming
			}
			if g.seen&isValued != 0 && mayBeCut(s, from) {
				g.telling |= isValued // the member that names a value may have been cut off
			}
			return g.plainBetween(from, len(s), last)
		}
		// The name is between the two quotes before the colon. Usually it is the one that followed the
		// last name in earlier texts.
		var m *remembered
		if last != nil { // so i is at least 15
			m = g.r.names.places[last.next.Load()%(1<<verdictBits)].Load()
			if before := s[i-15 : i+1]; m == nil || load(before[8:])>>(m.shift&63) != m.tail || m.head != 0 && load(before)>>(m.shift2&63) != m.head {
				if m = g.r.names.memberAt(s, i); m != nil {
					last.next.Store(uint32(m.key.slot()))
				}
			}
		}
		if m == nil {
			place, next, m := g.plainUpTo(from, i, last)
			if next == 0 {
				return place
			}
			from, i = place, next
			if m != nil {
				g.seen |= m.says
				if last = m; i < 2*8 {
					last = nil // too few bytes are before the next name to compare it
				}
			}
			continue
		}
		g.seen |= m.says
		if begin := i - m.size; begin < from || begin-from >= minBetween {
			if begin < from { // the last colon is part of the name
				return from
			}
			if place := g.plainBetween(from, begin, last); place < begin {
				return place
			}
		}
		if m.says&g.telling != 0 && !g.isPlainMember(m, i+1) {
			return i
		}
		last = m
		from = i + 1
		if clean := m.clean.Load(); clean != nil && isStringAt(s, from, *clean) {
			i = from + len(*clean) + len(`""`)
			from = i
			continue
		}
		i += len(`:{""`) // the next colon can't be closer
	}
	return 0
}

// mayBeCut reports whether a text may have been cut. Its last value, or a part of that value, begins at
// from.
func mayBeCut(s string, from int) bool {
	end := len(s)
	for end > from && isSpace(s[end-1]) {
		end--
	}
	for from < end && isSpace(s[from]) {
		from++
	}
	return end == from || s[end-1] != '}' && s[end-1] != ']' || s[from] == '"' && stringEnd(s, from+1) == len(s)
}

// minBetween is the length of the shortest text between a colon and the next name that may
// have a string to be checked, or a card number.
const minBetween = minCard + len(",")

// isStringAt reports whether a JSON string with this text begins at i. The text has no escapes.
func isStringAt(s string, i int, text string) bool {
	end := i + 1 + len(text)
	return end < len(s) && s[i] == '"' && s[end] == '"' && s[i+1:end] == text
}

const (
	ones  = 0x0101010101010101
	lows  = 0x7f * ones
	highs = 0x80 * ones
)

// plainUpTo reads from `from` up to a colon, or up to the end of the string that contains the colon. It
// returns where the next value begins or continues, where the search for the next colon begins, and the
// verdict on the name, if there is one. If something may have to be redacted, it returns its place, and
// next is 0.
func (g *prescan) plainUpTo(from, colon int, last *remembered) (place, next int, m *remembered) {
	s := g.s
	for i := from; i <= colon; {
		switch jsonKinds[s[i]] {
		case jsonQuote:
			end := stringEnd(s, i+1)
			k := end + 1
			for k < colon && isSpace(s[k]) {
				k++
			}
			if k == colon {
				m = g.r.names.lookUp(g.unescaped(i+1, end))
				if m.says&g.telling != 0 && !g.isPlainMember(m, colon+1) {
					return colon, 0, nil
				}
				return colon + 1, colon + 1, m
			}
			if i > from {
				last = nil // the string is in an array
			}
			if !g.isPlainString(i+1, end, last) {
				return i, 0, nil
			}
			i = min(end+1, len(s))
			if end > colon {
				return i, i, nil
			}
		case jsonPlain:
			begin := i
			for i < colon && jsonKinds[s[i]] == jsonPlain {
				i++
			}
			if i == colon || i-begin >= minCard && mayHaveCard(s[begin:i]) {
				return begin, 0, nil // a colon that doesn't follow a name
			}
		case jsonForeign:
			return i, 0, nil
		default:
			i++
		}
	}
	return from, 0, nil
}

// isPlainMember reports whether nothing in a member has to be redacted because of its name. The value
// begins at i, or after white space at i.
func (g *prescan) isPlainMember(m *remembered, i int) bool {
	s := g.s
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	f := m.of(inBody)
	switch {
	case m.says&isSecret != 0, m.says&g.telling&isValued != 0:
		return false
	case i == len(s):
		return true
	case s[i] == '"':
		value := g.unescaped(i+1, stringEnd(s, i+1))
		if m.says&g.telling&isNaming != 0 && (g.telling&isValued != 0 || g.namesSecret(value)) {
			g.telling |= isValued
			return false
		}
		if m.says&g.telling&isKind != 0 && g.telling&isKindData == 0 && (value == "Secret" || value == "SecretList") {
			g.telling |= isKindData
			return false
		}
		return f == plain || !isSecretText(m.verdict, f, value, g.request)
	case jsonKinds[s[i]] == jsonOpen:
		return f == plain && m.says&g.telling&isKindData == 0
	}
	to := bareEnd(s, i)
	return f == plain || isLiteral(s[i:to]) || isNumeric(s[i:to]) && (!bool(m.numbers) || to-i < minNumber)
}

// namesSecret reports whether a text that names a value makes it secret.
func (g *prescan) namesSecret(text string) bool {
	text = text[strings.LastIndexByte(text, '/')+1:]
	return g.r.names.lookUp(text).of(inBody) != plain
}

// plainBetween is plainUntil for the text between the colon after a name and the quote of the next
// name.
func (g *prescan) plainBetween(from, to int, m *remembered) int {
	s := g.s
	if to-from > len(`"",`) && s[from] == '"' && s[to-1] == ',' && s[to-2] == '"' { // one string
		if g.isPlainString(from+1, to-2, m) {
			return to
		}
	} else if between := s[from:to]; !hasMark(between) && (len(between) < minCard || !mayHaveCard(between)) {
		return to
	}
	for i := from; i < to; {
		switch jsonKinds[s[i]] {
		case jsonQuote:
			end := stringEnd(s, i+1)
			if !g.isPlainString(i+1, end, nil) {
				return i
			}
			i = end + 1
		case jsonPlain:
			begin := i
			for i < to && jsonKinds[s[i]] == jsonPlain {
				i++
			}
			if i-begin >= minCard && mayHaveCard(s[begin:i]) {
				return begin
			}
		case jsonForeign:
			return i
		default:
			i++
		}
	}
	return to
}

// isPlainString reports whether nothing in a string has to be redacted. m is its name, if it has one.
func (g *prescan) isPlainString(from, to int, m *remembered) bool {
	if to-from < minValue {
		return true
	}
	if !g.r.suspicious(g.s[from:to]) {
		if m != nil {
			m.cleanIs(g.s[from:to])
		}
		return true
	}
	value := g.unescaped(from, to)
	return g.value(value) == value
}

// unescaped returns the text of a string. It is valid until the next call.
func (g *prescan) unescaped(from, to int) string {
	raw := g.s[from:to]
	if strings.IndexByte(raw, '\\') < 0 {
		return raw
	}
	g.room = appendUnescaped(g.room[:0], raw)
	return view(g.room)
}
