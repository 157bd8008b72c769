package redact

import (
	"math/bits"
	"strings"
)

// isPlain tells whether nothing in the JSON text is to be redacted, which holds for
// most. It costs far less than scan: it goes from colon to colon, and looks at no object
// and no array but at names, and at texts that are long enough to have a secret in them. It
// may say no where scan finds nothing, and never the reverse.
func (j *jsonScan) isPlain() bool { return j.isPlainUnless(isTelling) }

// isPlainUnless is isPlain, with a closer look at members whose names say any of these
// things.
func (j *jsonScan) isPlainUnless(telling says) bool {
	s := j.s
	var last *remembered // name
	from := 0            // where what follows it begins
	seen := says(0)
	for i := 0; i >= 0; { // so the compiler knows
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
			i = len(s)
			if seen&(isNaming|isValued) == isNaming|isValued && telling&isNaming == 0 {
				return j.isPlainUnless(telling | isNaming)
			}
			return j.isPlainBetween(from, i, last)
		}
		// The name is what is between the two quotes before the colon, and mostly the one that
		// came next the last time.
		var m *remembered
		if last != nil { // so i is at least 15
			m = last.next.Load()
			if before := s[i-15 : i+1]; m == nil || load(before[8:])>>(m.shift&63) != m.tail || m.head != 0 && load(before)>>(m.shift2&63) != m.head {
				if m = j.r.names.memberAt(s, i); m != nil {
					last.next.Store(m)
				}
			}
		}
		if m == nil {
			next := 0
			if from, next, m = j.plainUpTo(from, i, last, telling); next == 0 {
				return false
			}
			if m != nil {
				seen |= m.says
				if last = m; i < 2*8 {
					last = nil // the next one can't be compared yet
				}
			}
			i = next
			continue
		}
		seen |= m.says
		if m.says&telling != 0 && !j.isPlainMember(m, i+1, telling) {
			return false
		}
		if begin := i - m.size; begin-from >= minBetween && !j.isPlainBetween(from, begin, last) {
			return false
		}
		last = m
		from = i + 1
		if clean := m.clean.Load(); clean != nil && isStringAt(s, from, *clean) {
			i = from + len(*clean) + len(`""`)
			from = i
			continue
		}
		i += len(`:{""`) // the next colon is behind that, if not further on
	}
	return false
}

// minBetween is the shortest text between a colon and the next name in which there may be
// a string to be looked at, or the number of a card.
const minBetween = minCard + len(",")

// isStringAt tells whether a JSON string begins at a place that is written as it is meant.
func isStringAt(s string, i int, text string) bool {
	end := i + 1 + len(text)
	return end < len(s) && s[i] == '"' && s[end] == '"' && s[i+1:end] == text
}

const (
	ones  = 0x0101010101010101
	lows  = 0x7f * ones
	highs = 0x80 * ones
)

// plainUpTo reads on from a place up to a colon, and, if that is in a string, up to its
// end. It returns where the next value begins, or goes on, where the next colon is
// to be searched, 0 if something may have to be redacted, and what the name says, if there is one.
func (j *jsonScan) plainUpTo(from, colon int, last *remembered, telling says) (value, next int, m *remembered) {
	s := j.s
	for i := from; i <= colon; {
		switch jsonKinds[s[i]] {
		case jsonQuote:
			end := stringEnd(s, i+1)
			k := end + 1
			for k < colon && isSpace(s[k]) {
				k++
			}
			if k == colon {
				m = j.r.names.lookUp(j.unescaped(i+1, end))
				if m.says&telling != 0 && !j.isPlainMember(m, colon+1, telling) {
					return 0, 0, nil
				}
				return colon + 1, colon + 1, m
			}
			if i > from {
				last = nil // in an array
			}
			if !j.isPlainString(i+1, end, last) {
				return 0, 0, nil
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
				return 0, 0, nil // a colon that doesn't follow a name
			}
		case jsonForeign:
			return 0, 0, nil
		default:
			i++
		}
	}
	return 0, 0, nil
}

// isPlainMember tells whether nothing is to be redacted in a member because of its name.
// The value begins at a place, or behind it.
func (j *jsonScan) isPlainMember(m *remembered, i int, telling says) bool {
	s := j.s
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	f := m.of(inBody)
	switch {
	case m.says&isSecret != 0:
		return false
	case i == len(s):
		return true
	case s[i] == '"':
		value := j.unescaped(i+1, stringEnd(s, i+1))
		if f != plain && isSecretText(m.verdict, f, value, j.request) {
			return false
		}
		return m.says&telling&isNaming == 0 || !j.namesSecret(value)
	case jsonKinds[s[i]] == jsonOpen:
		return f == plain
	}
	to := bareEnd(s, i)
	return f == plain || isLiteral(s[i:to]) || isNumeric(s[i:to]) && (!bool(m.numbers) || to-i < minNumber)
}

// namesSecret tells whether a text that names a value makes it secret.
func (j *jsonScan) namesSecret(text string) bool {
	text = text[strings.LastIndexByte(text, '/')+1:]
	return j.r.names.lookUp(text).of(inBody) != plain
}

// isPlainBetween tells whether there is nothing to redact between the colon behind a name
// and the quote of the next one.
func (j *jsonScan) isPlainBetween(from, to int, m *remembered) bool {
	s := j.s
	if to-from > len(`"",`) && s[from] == '"' && s[to-1] == ',' && s[to-2] == '"' { // one string
		if j.isPlainString(from+1, to-2, m) {
			return true
		}
	} else if between := s[from:to]; !hasMark(between) && (len(between) < minCard || !mayHaveCard(between)) {
		return true
	}
	for i := from; i < to; {
		switch jsonKinds[s[i]] {
		case jsonQuote:
			end := stringEnd(s, i+1)
			if !j.isPlainString(i+1, end, nil) {
				return false
			}
			i = end + 1
		case jsonPlain:
			begin := i
			for i < to && jsonKinds[s[i]] == jsonPlain {
				i++
			}
			if i-begin >= minCard && mayHaveCard(s[begin:i]) {
				return false
			}
		case jsonForeign:
			return false
		default:
			i++
		}
	}
	return true
}

// isPlainString tells whether nothing is to be redacted in a string, the value of a name if
// there is one.
func (j *jsonScan) isPlainString(from, to int, m *remembered) bool {
	if to-from < minValue {
		return true
	}
	if !j.r.suspicious(j.s[from:to]) {
		if m != nil {
			m.cleanIs(j.s[from:to])
		}
		return true
	}
	value := j.unescaped(from, to)
	return j.value(value) == value
}
