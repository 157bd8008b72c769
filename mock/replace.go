package mock

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// pair is a recorded value and the live one that replaces it.
type pair struct{ recorded, live string }

// minReplaced is the length from which on a value is looked for in an answer.
const minReplaced = 4

// replacer replaces values of the recorded request, where an answer repeats them, by those
// of the live request.
type replacer struct{ pairs []pair }

// newReplacer drops pairs that change nothing, and adds the encodings of values in JSON and
// in URLs.
func newReplacer(pairs []pair) replacer {
	var r replacer
	for _, p := range pairs {
		for _, form := range [...]func(string) string{func(s string) string { return s }, inJSON, url.QueryEscape, url.PathEscape} {
			q := pair{form(p.recorded), form(p.live)}
			if len(q.recorded) >= minReplaced && q.recorded != q.live && !slices.ContainsFunc(r.pairs, func(have pair) bool { return have.recorded == q.recorded }) {
				r.pairs = append(r.pairs, q)
			}
		}
	}
	// A longer value comes before its own beginning.
	slices.SortStableFunc(r.pairs, func(a, b pair) int { return len(b.recorded) - len(a.recorded) })
	return r
}

func inJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil || len(b) < 2 {
		return s
	}
	return string(b[1 : len(b)-1])
}

// empty tells whether nothing is to be replaced.
func (r replacer) empty() bool { return len(r.pairs) == 0 }

// text replaces the values that a text has as whole words.
func (r replacer) text(s string) string {
	if r.empty() {
		return s
	}
	var out strings.Builder
	from := 0
	for at := 0; at < len(s); {
		p := r.at(s, at)
		if p == nil {
			at++
			continue
		}
		out.WriteString(s[from:at])
		out.WriteString(p.live)
		at += len(p.recorded)
		from = at
	}
	if from == 0 {
		return s
	}
	out.WriteString(s[from:])
	return out.String()
}

// at finds the value that begins at an index of a text.
func (r replacer) at(s string, at int) *pair {
	for i := range r.pairs {
		p := &r.pairs[i]
		end := at + len(p.recorded)
		if s[at] == p.recorded[0] && strings.HasPrefix(s[at:], p.recorded) && (at == 0 || !joins(s[at-1], s[at])) && (end == len(s) || !joins(s[end-1], s[end])) {
			return p
		}
	}
	return nil
}

// joins tells whether two characters belong to one word.
func joins(a, b byte) bool { return isWord(a) && isWord(b) }

func isWord(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '-' || c >= 0x80
}
