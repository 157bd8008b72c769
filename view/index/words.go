package index

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxWord is the number of bytes of a word that count.
	maxWord = 64
	// pairBytes is the length of the term of a pair of words.
	pairBytes = 6
	// pairMark is its first byte. No word contains this byte.
	pairMark = 0xff
)

// tokens finds the words of texts. The zero value is ready to use.
type tokens struct {
	word []byte // in lower case
	term [pairBytes]byte
}

// each calls word with each word of a text, and pair with a term for each two adjacent words. The
// arguments are valid only during the call.
//
// A word consists of letters, digits and underscores, in lower case. In scripts without spaces,
// each letter is a word. NUL separates unrelated texts: no pair spans it.
func (t *tokens) each(text []byte, word, pair func(term []byte)) {
	last, lastHash := false, uint32(0) // whether the word before can be in a pair, and its hash
	t.word = t.word[:0]
	flush := func() {
		if len(t.word) == 0 {
			return
		}
		word(t.word)
		if isIdentifier(t.word) {
			last = false
		} else {
			h := hash32(t.word)
			if last {
				t.pair(lastHash, h)
				pair(t.term[:])
			}
			last, lastHash = true, h
		}
		t.word = t.word[:0]
	}
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_':
			if i++; len(t.word) < maxWord {
				t.word = append(t.word, c)
			}
		case 'A' <= c && c <= 'Z':
			if i++; len(t.word) < maxWord {
				t.word = append(t.word, c|0x20)
			}
		case c < utf8.RuneSelf:
			i++
			flush()
			if c == 0 {
				last = false
			}
		default:
			r, size := utf8.DecodeRune(text[i:])
			i += size
			if r == utf8.RuneError && size == 1 || !unicode.In(r, unicode.L, unicode.M, unicode.N) {
				flush()
				continue
			}
			alone := unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
			if alone {
				flush()
			}
			if r = unicode.ToLower(r); len(t.word)+utf8.RuneLen(r) <= maxWord {
				t.word = utf8.AppendRune(t.word, r)
			}
			if alone {
				flush()
			}
		}
	}
	flush()
}

func (t *tokens) pair(a, b uint32) {
	h := uint64(a)*0x9e3779b97f4a7c15 ^ uint64(b)*0xc2b2ae3d27d4eb4f
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	t.term = [pairBytes]byte{pairMark, byte(h >> 56), byte(h >> 48), byte(h >> 40), byte(h >> 32), byte(h >> 24)}
}

// isIdentifier reports whether a word looks like the name of one thing, such as an order number.
// There are so many of these that they get no pairs. Their neighbours would hardly narrow a
// search.
func isIdentifier(word []byte) bool {
	if len(word) < 5 {
		return false
	}
	for _, c := range word {
		if '0' <= c && c <= '9' {
			return true
		}
	}
	return false
}

// hash32 is FNV-1a.
func hash32(b []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// hash64 is FNV-1a.
func hash64[T []byte | string](b T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * 1099511628211
	}
	return h
}

// fold returns a text in lower case, for comparisons without regard to case.
func fold(s string) string { return strings.ToLower(s) }

// item is one word or phrase of a search.
type item struct {
	text   string // the whole, in lower case; it may be a part of the path or the host
	words  []string
	pairs  []string
	prefix string // the beginning of a word; "" for none
}

// maxItems is the number of words and phrases of a search that count. Further ones are ignored.
const maxItems = 32

// parseText divides a search into words, and phrases in quotation marks. There are no operators.
func parseText(text string) (items []item) {
	for len(items) < maxItems {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		if text == "" {
			break
		}
		phrase := text[0] == '"'
		var one string
		if phrase {
			one, text, _ = strings.Cut(text[1:], `"`)
		} else {
			end := strings.IndexFunc(text, unicode.IsSpace)
			if end < 0 {
				end = len(text)
			}
			one, text = text[:end], text[end:]
		}
		if one == "" {
			continue
		}
		items = append(items, newItem(one, phrase))
	}
	return items
}

func newItem(text string, phrase bool) item {
	it := item{text: fold(text)}
	var t tokens
	seenPair := ""
	t.each([]byte(text), func(w []byte) { it.words = append(it.words, string(w)) }, func(p []byte) {
		seenPair = string(p)
		it.pairs = append(it.pairs, seenPair)
	})
	if n := len(it.words); n > 0 && !phrase {
		last, _ := utf8.DecodeLastRuneInString(text)
		if last != '_' && !unicode.In(last, unicode.L, unicode.M, unicode.N) {
			return it // the last word is whole
		}
		it.prefix = it.words[n-1]
		// The last pair, if there is one, has the unfinished word.
		if it.words = it.words[:n-1]; n > 1 && !isIdentifier([]byte(it.words[n-2])) && !isIdentifier([]byte(it.prefix)) && len(it.pairs) > 0 {
			it.pairs = it.pairs[:len(it.pairs)-1]
		}
	}
	return it
}
