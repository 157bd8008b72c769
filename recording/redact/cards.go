package redact

// issuers lists ranges of the first six digits of card numbers, and how many digits the
// numbers may have: bit n for n digits.
var issuers = []struct {
	from, to int
	digits   uint32
}{
	{220000, 220499, 1<<16 | 1<<17 | 1<<18 | 1<<19}, // Mir
	{222100, 272099, 1 << 16},                       // Mastercard
	{300000, 305999, 1<<14 | 1<<16},                 // Diners Club
	{340000, 349999, 1 << 15},                       // American Express
	{352800, 358999, 1<<16 | 1<<19},                 // JCB
	{360000, 369999, 1<<14 | 1<<16},                 // Diners Club
	{370000, 379999, 1 << 15},                       // American Express
	{380000, 399999, 1<<14 | 1<<16},                 // Diners Club
	{400000, 499999, 1<<13 | 1<<16 | 1<<19},         // Visa
	{501800, 501899, 1<<13 | 1<<16 | 1<<19},         // Maestro
	{502000, 502099, 1<<13 | 1<<16 | 1<<19},
	{503800, 503899, 1<<13 | 1<<16 | 1<<19},
	{508000, 508999, 1 << 16},                       // RuPay
	{510000, 559999, 1 << 16},                       // Mastercard
	{589300, 589399, 1<<13 | 1<<16 | 1<<19},         // Maestro
	{601100, 601199, 1<<16 | 1<<19},                 // Discover
	{606900, 608599, 1 << 16},                       // RuPay
	{620000, 629999, 1<<16 | 1<<17 | 1<<18 | 1<<19}, // UnionPay
	{630400, 630499, 1<<13 | 1<<16 | 1<<19},         // Maestro
	{644000, 659999, 1<<16 | 1<<19},                 // Discover
	{675900, 676399, 1<<13 | 1<<16 | 1<<19},         // Maestro
	{810000, 817199, 1<<16 | 1<<17 | 1<<18 | 1<<19}, // UnionPay
	{979200, 979299, 1 << 16},                       // Troy
}

const (
	minCard = 13 // digits
	maxCard = 19
)

// groups lists how card numbers are divided into groups of digits.
var groups = [][]int{{4, 4, 4, 4}, {4, 4, 4, 4, 3}, {4, 6, 5}, {4, 6, 4}}

// card returns the length of the card number at the beginning of s, or 0 if there is none. Either
// spaces or dashes may divide the number into groups.
func card(s string) int {
	if len(s) < minCard || !isDigit(s[0]) {
		return 0
	}
	var digits [maxCard]byte
	n := 0
	for n < len(s) && isDigit(s[n]) {
		if n == maxCard {
			return 0
		}
		digits[n] = s[n] - '0'
		n++
	}
	if n >= minCard {
		if continues(s[n:]) || !isCard(digits[:n]) {
			return 0
		}
		return n
	}
	if n != 4 || n == len(s) || s[n] != ' ' && s[n] != '-' {
		return 0
	}
	longest := 0
	for _, sizes := range groups {
		if end, count := grouped(s, sizes, &digits); end > longest && !continues(s[end:]) && isCard(digits[:count]) {
			longest = end
		}
	}
	return longest
}

// grouped reads groups of digits of these sizes. It returns where they end and how many digits they
// have, or 0 if s doesn't begin with such groups.
func grouped(s string, sizes []int, digits *[maxCard]byte) (end, count int) {
	for g, size := range sizes {
		if g > 0 {
			if end == len(s) || s[end] != s[sizes[0]] {
				return 0, 0
			}
			end++
		}
		if end+size > len(s) {
			return 0, 0
		}
		for ; size > 0; size-- {
			if !isDigit(s[end]) {
				return 0, 0
			}
			digits[count] = s[end] - '0'
			count++
			end++
		}
	}
	return end, count
}

// continues reports whether the text after a number continues the number, or makes it part of a word.
func continues(rest string) bool {
	if rest == "" {
		return false
	}
	switch c := rest[0]; {
	case isDigit(c), isUpper(c), isLower(c), c == '_':
		return true
	case c == '.' || c == '-' || c == ' ': // a fraction, or further groups
		return len(rest) > 1 && isDigit(rest[1]) && (c != ' ' || len(rest) > 4 && isDigit(rest[2]) && isDigit(rest[3]) && isDigit(rest[4]))
	}
	return false
}

// isCard reports whether an issuer may have given this number to a card. The last digit is a check
// digit (ISO/IEC 7812-1, annex B).
func isCard(digits []byte) bool {
	first := 0
	for _, d := range digits[:6] {
		first = first*10 + int(d)
	}
	for _, i := range issuers {
		if first < i.from {
			return false
		}
		if first <= i.to && i.digits>>len(digits)&1 != 0 {
			return luhn(digits) && (len(digits) != minCard || !isEAN(digits))
		}
	}
	return false
}

func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i])
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// isEAN reports whether 13 digits are an article number (EAN). These are far more frequent than card
// numbers with 13 digits.
func isEAN(digits []byte) bool {
	sum := 0
	for i, d := range digits {
		sum += int(d) * (1 + i%2*2)
	}
	return sum%10 == 0
}

// cards finds card numbers.
func cards(found []span, s string) []span {
	for from, to := numberRun(s, 0); to > 0; from, to = numberRun(s, to) {
		found = cardsIn(found, s, from, to)
	}
	return found
}

// mayHaveCard reports whether there may be a card number in s.
func mayHaveCard(s string) bool {
	_, to := numberRun(s, 0)
	return to > 0
}

// numberRun finds the first run of digits, spaces and dashes from i on that is at least as long as
// a card number.
func numberRun(s string, i int) (from, to int) {
	// Looking at every twelfth character is enough.
	const step = minCard - 1
	for i += step; i < len(s); i += step {
		if !isDigit(s[i]) && !(divides(s[i]) && isDigit(s[i-1])) {
			continue
		}
		for from = i; from > 0 && (isDigit(s[from-1]) || divides(s[from-1]) && from > 1 && isDigit(s[from-2])); from-- {
		}
		for to = i + 1; to < len(s) && (isDigit(s[to]) || divides(s[to]) && to+1 < len(s) && isDigit(s[to+1])); to++ {
		}
		if to-from >= minCard {
			return from, to
		}
		i = to - 1 // the character at `to` belongs to no number
	}
	return 0, 0
}

func divides(c byte) bool { return c == ' ' || c == '-' }

// cardsIn finds card numbers in a run of digits, spaces and dashes.
func cardsIn(found []span, s string, from, to int) []span {
	for i := from; i+minCard <= to; i++ {
		if !isDigit(s[i]) || i > 0 && !mayBegin(s, i) {
			continue
		}
		if n := card(s[i:]); n > 0 {
			found = append(found, span{i, i + n})
			i += n - 1
			continue
		}
		for i+1 < to && isDigit(s[i+1]) {
			i++
		}
	}
	return found
}

// mayBegin reports whether a card number may begin at i, judging by the characters before it.
func mayBegin(s string, i int) bool {
	switch c := s[i-1]; {
	case c == 'B' && i > 1 && s[i-2] == '%': // on a magnetic stripe (ISO/IEC 7813)
		return true
	case isDigit(c), isUpper(c), isLower(c), c == '_', c == '.', c == '+':
		return false
	case c == '-' && i > 1:
		return !isDigit(s[i-2])
	}
	return true
}
